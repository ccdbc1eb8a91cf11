#!/bin/sh
# opencv-python-headless 5.0.0.93, Pillow 13.0.0, numpy 2.4.6: OpenCV divides the numbers of a PFM by the scale of its header,
# where Pillow gives them as they are and the scale beside. Files of disparities may have a scale that only says how to show them:
# by 1/255, every disparity is 255 times as large.
#
# Seen:
#   5.0.0 scale -1.0: [[1.0, 2.0]], scale -0.003922: [[255.0, 509.9]]
#   13.0.0 scale -1.0: [[1.0, 2.0]], scale -0.003922: [[1.0, 2.0]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

row = np.array([[1, 2]], "<f4")
found, theirs = {}, {}
for scale in "-1.0", "-0.003922":
    Path("a.pfm").write_bytes(f"Pf\n2 1\n{scale}\n".encode() + row.tobytes())
    found[scale] = np.round(cv2.imread("a.pfm", cv2.IMREAD_UNCHANGED).astype(float), 1).tolist()
    theirs[scale] = np.asarray(Image.open("a.pfm")).tolist()
for version, read in (cv2.__version__, found), (PIL.__version__, theirs):
    print(version, ", ".join(f"scale {scale}: {numbers}" for scale, numbers in read.items()))
assert list(theirs.values()) == [[[1, 2]]] * 2 and list(found.values()) == [[[1, 2]], [[255, 509.9]]]
EOF
