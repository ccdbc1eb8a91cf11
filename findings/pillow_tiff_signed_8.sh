#!/bin/sh
# Pillow 13.0.0: a gray TIFF of signed 8-bit samples opens as mode L of the same bytes, so -1 is 255; a gray TIFF of 16 bits
# whose 0 is white comes as it is stored, while one of 8 bits is turned around.
#
# Seen:
#   13.0.0 signed L [255, 2] white is 0, 8 bits [255, 254] 16 bits [0, 1]
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

import numpy as np
import PIL
from PIL import Image


def tiff(samples, bits, white_is_0, sign):
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: 0 if white_is_0 else 1, 273: 8 + 2 + 10 * 12 + 4, 277: 1, 278: 1,
            279: len(samples), 339: sign}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return Image.open(io.BytesIO(b"II*\0" + struct.pack("<IH", 8, 10) + entries + struct.pack("<I", 0) + samples))


signed = tiff(np.int8([-1, 2]).tobytes(), 8, False, 2)
byte = tiff(np.uint8([0, 1]).tobytes(), 8, True, 1)
word = tiff(np.uint16([0, 1]).tobytes(), 16, True, 1)
seen = [np.asarray(picture)[0].tolist() for picture in (signed, byte, word)]
print(PIL.__version__, "signed", signed.mode, seen[0], "white is 0, 8 bits", seen[1], "16 bits", seen[2])
assert seen == [[255, 2], [255, 254], [0, 1]]
EOF
