#!/bin/sh
# pyvips 3.2.0 (libvips 8.18.7): an array of 16 bits with one channel is cut at 255 where it is written as PNG, and so is its
# thumbnail; WebP divides it by 256, and TIFF keeps it. The same numbers as three channels are written as PNG of 16 bits.
# `copy(interpretation= "grey16")` before writing keeps them. Also int32 and float32 are cut at 255.
#
# Seen:
#   3.2.0 [0, 100, 300, 5000] b-w: png uchar [0, 100, 255, 255], thumbnail [0, 100, 255, 255], webp [0, 0, 1, 19], tiff [0, 100, 300, 5000]
#   3.2.0 as three channels: png ushort [0, 100, 300, 5000]; as grey16: png ushort [0, 100, 300, 5000]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import pyvips

depth = np.array([[0, 100, 300, 5000]], np.uint16)


def channel(picture):
    return picture.numpy().reshape(4, -1)[:, 0].tolist()


def back(picture, ending):
    return pyvips.Image.new_from_buffer(picture.write_to_buffer(ending), "")


one, three = pyvips.Image.new_from_array(depth), pyvips.Image.new_from_array(np.stack([depth] * 3, -1))
png, webp, tiff = (back(one, ending) for ending in (".png", ".webp[lossless]", ".tif"))
small, colored, whole = one.thumbnail_image(4), back(three, ".png"), back(one.copy(interpretation="grey16"), ".png")
print(pyvips.__version__, depth[0].tolist(), f"{one.interpretation}: png {png.format} {channel(png)},", end=" ")
print(f"thumbnail {channel(small)}, webp {channel(webp)}, tiff {channel(tiff)}")
print(pyvips.__version__, f"as three channels: png {colored.format} {channel(colored)};", end=" ")
print(f"as grey16: png {whole.format} {channel(whole)}")
assert channel(png) == channel(small) == channel(back(pyvips.Image.new_from_array(depth.astype(np.int32)), ".png"))
assert channel(png) == [0, 100, 255, 255] and channel(webp) == [0, 0, 1, 19]
assert channel(tiff) == channel(colored) == channel(whole) == depth[0].tolist()
EOF
