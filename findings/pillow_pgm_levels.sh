#!/bin/sh
# Pillow 13.0.0: a PGM whose highest level is not 255 is scaled while it is read, so 20 classes, written as the levels
# 0..20, come back as other ids. The picture says nothing of it afterwards: mode L, no key in `info`.
#
# Seen:
#   13.0.0 L {} [0, 1, 10, 20] -> [0, 13, 128, 255]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pillow==13.0.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import numpy as np
import PIL
from PIL import Image

ids = bytes([0, 1, 10, 20])
picture = Image.open(io.BytesIO(b"P5 4 1 20\n" + ids))
found = np.asarray(picture)[0].tolist()
print(PIL.__version__, picture.mode, picture.info, list(ids), "->", found)
assert picture.mode == "L" and picture.info == {} and found == [0, 13, 128, 255]
EOF
