#!/bin/sh
# Pillow 13.0.0: rotating a 16-bit gray picture (mode I;16) with a smooth filter gives numbers that the picture does not
# hold, without an error: a plane of the constant 1000 gets values far from 1000 in its middle, where no border reaches.
#
# Seen:
#   13.0.0 uint16: [6, 14, 22, 30, 36, 44] float32: [1000.0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pillow==13.0.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import PIL
from PIL import Image

plane = np.full((64, 64), 1000, np.uint16)
turned = np.asarray(Image.fromarray(plane).rotate(30, Image.Resampling.BILINEAR))
middle = turned[24:40, 24:40]
floats = np.asarray(Image.fromarray(plane.astype(np.float32)).rotate(30, Image.Resampling.BILINEAR))[24:40, 24:40]
print(PIL.__version__, "uint16:", np.unique(middle).tolist()[:6], "float32:", np.unique(floats).tolist())
assert (middle != 1000).any() and np.allclose(floats, 1000)
EOF
