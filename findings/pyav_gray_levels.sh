#!/bin/sh
# av 18.1.0, numpy 2.4.6: a gray map in 8 bits that is kept as H.264 without loss comes back with 220 of its 256 levels, for in
# `yuv420p`, and in `gray` too, levels are squeezed into 16 to 235; neighbors become one id or depth. In `yuvj420p`, and as FFV1
# in `gray`, all of them are there; FFV1 in `yuv420p` has 220.
#
# Seen:
#   18.1.0 levels of 256: libx264 yuv420p 220, libx264 gray 220, libx264 yuvj420p 256, ffv1 yuv420p 220, ffv1 gray 256
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile av==18.1.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import av
import numpy as np

av.logging.set_level(av.logging.PANIC)
levels = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((4, 4), np.uint8))


def kept(codec, pixels):
    with av.open("a.mkv", "w") as file:
        stream = file.add_stream(codec, rate=10, options={"qp": "0"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        file.mux(stream.encode(av.VideoFrame.from_ndarray(levels, format="gray")))
        file.mux(stream.encode())
    with av.open("a.mkv") as file:
        return len(np.unique(next(file.decode(video=0)).to_ndarray(format="gray")))


ways = [("libx264", kind) for kind in ("yuv420p", "gray", "yuvj420p")] + [("ffv1", kind) for kind in ("yuv420p", "gray")]
found = [kept(*way) for way in ways]
told = ", ".join(f"{codec} {pixels} {number}" for (codec, pixels), number in zip(ways, found, strict=True))
print(av.__version__, "levels of 256:", told)
assert found == [220, 220, 256, 220, 256]
EOF
