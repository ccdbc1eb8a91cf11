#!/bin/sh
# Pillow 13.0.0: a PNG of 16-bit gray with alpha opens as RGBA of the high bytes. A depth of 1000 and one of 1023 are both
# 3; without the alpha channel the same samples are read whole.
#
# Seen:
#   13.0.0 RGBA [3, 3] I;16 [1000, 1023]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pillow==13.0.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image


def png(color_type, samples):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 2, 1, 16, color_type, 0, 0, 0)
    rows = zlib.compress(b"\0" + struct.pack(f">{len(samples)}H", *samples))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


both, gray = (Image.open(io.BytesIO(data)) for data in (png(4, [1000, 65535, 1023, 65535]), png(0, [1000, 1023])))
print(PIL.__version__, both.mode, np.asarray(both)[0, :, 0].tolist(), gray.mode, np.asarray(gray)[0].tolist())
assert both.mode == "RGBA" and np.asarray(both)[0, :, 0].tolist() == [3, 3]
assert np.asarray(gray)[0].tolist() == [1000, 1023]
EOF
