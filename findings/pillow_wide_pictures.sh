#!/bin/sh
# Pillow 12.3.0: a map of 16 bits that is saved as WebP or AVIF is cut at 255, not scaled, without an error or a warning, so that all of a
# depth map in millimeters but what is nearer than 26 cm becomes one number. JPEG and BMP refuse it; PNG and TIFF keep it.
#
# Seen:
#   12.3.0 WEBP [0, 1, 200, 255, 255]
#   12.3.0 AVIF [0, 1, 200, 255, 255]
#   12.3.0 PNG [0, 1, 200, 300, 65535]
#   12.3.0 TIFF [0, 1, 200, 300, 65535]
#   12.3.0 JPEG refused
#   12.3.0 BMP refused
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pillow==12.3.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io
import warnings

import numpy as np
from PIL import Image, __version__

warnings.simplefilter("error")
numbers = [0, 1, 200, 300, 65535]
picture = Image.fromarray(np.array([numbers] * 8, np.uint16))
for name, options in {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "PNG": {}, "TIFF": {}}.items():
    file = io.BytesIO()
    picture.save(file, name, **options)
    read = np.asarray(Image.open(file))
    levels = (read[..., 0] if read.ndim == 3 else read)
    levels = levels[0] if len(set(levels[0])) > 1 else levels[:, 0]
    print(__version__, name, levels.tolist())
    assert levels.tolist() == (numbers if name in ("PNG", "TIFF") else [0, 1, 200, 255, 255])
for name in ("JPEG", "BMP"):
    try:
        picture.save(io.BytesIO(), name)
    except OSError:
        print(__version__, name, "refused")
    else:
        raise AssertionError(name)
EOF
