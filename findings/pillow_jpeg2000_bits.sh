#!/bin/sh
# pillow 12.3.0, imagecodecs 2026.3.6: Pillow moves gray samples of a JPEG 2000 up to the 16 or 8 bits of its mode, without a word: of
# 12 bits, as scanners and satellites have, millimeters are 16 times as many, white of 4 bits is 240 of 255 and white of one bit is
# gray. Samples with a sign begin at the middle, so that -1 is 32767. Beyond 16 bits the lowest are left.
#
# Seen:
#   12.3.0 2026.3.6 12 bits: [1, 1000, 4095] -> I;16 [16, 16000, 65520]
#   12.3.0 2026.3.6 4 bits: [1, 7, 15] -> L [16, 112, 240]
#   12.3.0 2026.3.6 1 bits: [0, 1, 1] -> L [0, 128, 128]
#   12.3.0 2026.3.6 16 bits: [-1, 0, 1000] -> I;16 [32767, 32768, 33768]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pillow==12.3.0 imagecodecs==2026.3.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import imagecodecs
import numpy as np
import PIL
from PIL import Image

KINDS = ((12, "u2", [1, 1000, 4095]), (4, "u1", [1, 7, 15]), (1, "u1", [0, 1, 1]), (16, "i2", [-1, 0, 1000]))
seen = []
for bits, kind, row in KINDS:
    gray = np.array([row] * 8, kind)
    content = imagecodecs.jpeg2k_encode(gray, level=0, reversible=True, bitspersample=bits)
    assert np.array_equal(imagecodecs.jpeg2k_decode(content), gray)
    picture = Image.open(io.BytesIO(content))
    seen.append(np.asarray(picture)[0].tolist())
    print(PIL.__version__, imagecodecs.__version__, f"{bits} bits: {row} -> {picture.mode} {seen[-1]}")
assert seen == [[16, 16000, 65520], [16, 112, 240], [0, 128, 128], [32767, 32768, 33768]]
EOF
