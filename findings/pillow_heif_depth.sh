#!/bin/sh
# pillow-heif 1.8.1, pillow 12.3.0: a depth map of 16 bits is written as HEIF in 12 bits and is 16 bits again when it is read, so
# that the last four bits are gone, also where it is written without loss (`quality=-1`): 1 becomes 0 and 300 becomes 256.
#
# Seen:
#   1.8.1 0, 1, 300, 40000 -> I;16 [0, 0, 256, 40000] and in 8 bits 0, 1, 30, 200 -> L [0, 1, 30, 200]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pillow-heif==1.8.1 pillow==12.3.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()


def back(numbers):
    file = io.BytesIO()
    Image.fromarray(np.tile(numbers, (16, 16))).save(file, "HEIF", quality=-1)
    picture = Image.open(file)
    return picture.mode, np.asarray(picture)[0, :4].tolist()


depth, gray = back(np.array([0, 1, 300, 40000], np.uint16)), back(np.array([0, 1, 30, 200], np.uint8))
print(pillow_heif.__version__, "0, 1, 300, 40000 ->", *depth, "and in 8 bits 0, 1, 30, 200 ->", *gray)
assert depth == ("I;16", [0, 0, 256, 40000]) and gray == ("L", [0, 1, 30, 200])
EOF
