#!/bin/sh
# Pillow 12.3.0: a gray map of ids that is saved as GIF comes back with other numbers: colors that no pixel has are left out of
# its palette, and the others are counted anew, because `optimize` is on for GIF. With `optimize=False` the numbers stay.
#
# Seen:
#   12.3.0 [0, 5, 200, 7] -> P [0, 1, 3, 2]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pillow==12.3.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import numpy as np
import PIL
from PIL import Image

ids = np.array([[0, 5, 200, 7]], np.uint8)


def back(**options):
    file = io.BytesIO()
    Image.fromarray(ids).save(file, "GIF", **options)
    return Image.open(file)


read = back()
print(PIL.__version__, ids[0].tolist(), "->", read.mode, np.asarray(read)[0].tolist())
assert read.mode == "P" and np.asarray(read)[0].tolist() == [0, 1, 3, 2]
assert np.array_equal(np.asarray(back(optimize=False)), ids)
EOF
