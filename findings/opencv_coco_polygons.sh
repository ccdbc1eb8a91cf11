#!/bin/sh
# opencv 5.0.0, pycocotools 2.0.11: `findContours` gives the centers of the outermost pixels, COCO's polygons are their outer edges. A
# mask that is written as the one and read as the other, as many converters do, is smaller by half a pixel on every side: of 3 x 6
# pixels 10 of 18 are left, of 100 x 100 98 %, and what is one pixel thick is gone. `fillPoly` of OpenCV gives all of it back.
#
# Seen:
#   5.0.0 2.0.11 3 x 6: 10 of 18 / 100 x 100: 9801 of 10000 / 1 x 6: 0 of 6
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile opencv-python-headless==5.0.0.93 pycocotools==2.0.11 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import cv2
import numpy as np
from pycocotools import mask as coco


def left(height, width):
    pixels = np.zeros((120, 120), np.uint8)
    pixels[10 : 10 + height, 5 : 5 + width] = 1
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert np.array_equal(cv2.fillPoly(np.zeros_like(pixels), contours, 1), pixels)
    polygon = contours[0].astype(float).ravel().tolist()
    return int(coco.area(coco.frPyObjects([polygon], *pixels.shape))[0])


found = {size: left(*size) for size in ((3, 6), (100, 100), (1, 6))}
said = " / ".join(f"{h} x {w}: {pixels} of {h * w}" for (h, w), pixels in found.items())
print(cv2.__version__, version("pycocotools"), said)
assert found == {(3, 6): 10, (100, 100): 9801, (1, 6): 0}
EOF
