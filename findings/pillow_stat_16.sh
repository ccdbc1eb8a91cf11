#!/bin/sh
# Pillow 12.3.0: means, deviations and medians of `ImageStat` are taken of a histogram of 256 levels whatever the picture is. Of a
# depth map of 16 bits, and of one in int32 or float32, they are those of other numbers, and nothing is said; `getextrema` of the
# picture itself is right.
#
# Seen:
#   12.3.0 I;16: mean 11.25 (26458.75), extrema (0, 44), of the picture (0, 65535)
#   12.3.0 I: mean 102.75 (26458.75), extrema (0, 255), of the picture (0, 65535)
#   12.3.0 F: mean 102.75 (26458.75), extrema (0, 255), of the picture (0.0, 65535.0)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pillow==12.3.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import PIL
from PIL import Image, ImageStat

depth = np.array([[0, 300, 40000, 65535]])
means = {}
for kind in (np.uint16, np.int32, np.float32):
    picture = Image.fromarray(depth.astype(kind))
    found = ImageStat.Stat(picture)
    means[picture.mode] = found.mean[0]
    print(PIL.__version__, f"{picture.mode}: mean {found.mean[0]} ({depth.mean()}),", end=" ")
    print(f"extrema {found.extrema[0]}, of the picture {picture.getextrema()}")
    assert picture.getextrema() == (0, 65535)
assert means == {"I;16": 11.25, "I": 102.75, "F": 102.75}
EOF
