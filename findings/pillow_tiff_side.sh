#!/bin/sh
# Pillow 13.0.0: an uncompressed TIFF whose orientation lays it on its side has its rows mixed up when it is opened by its
# path, where Pillow maps the file into memory as if it were turned already. Opened from a stream, it is right.
#
# Seen:
#   13.0.0 stream [[3, 0], [4, 1], [5, 2]] path [[4, 2, 0], [5, 3, 1]]
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

Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save("side.tif", tiffinfo={274: 6})
with open("side.tif", "rb") as file:
    stream = np.asarray(Image.open(io.BytesIO(file.read()))).tolist()
path = np.asarray(Image.open("side.tif")).tolist()
print(PIL.__version__, "stream", stream, "path", path)
assert stream == [[3, 0], [4, 1], [5, 2]]
assert path != stream
EOF
