#!/bin/sh
# torch 2.14.1, torchvision 0.29.1: `BoundingBoxes` of whole numbers, as a list from COCO gives them, stay whole numbers, and
# what is behind the point is cut off at every step: to middles and back a box moves by a pixel, and of a small one a side is
# lost in resizing.
#
# Seen:
#   0.29.1+cu130 whole: [2, 3, 5, 8] is [1, 2, 4, 7] and [0, 1, 1, 2] at 9/10 is [0, 0, 0, 1]
#   0.29.1+cu130 real: [2, 3, 5, 8] is [2.0, 3.0, 5.0, 8.0] and [0, 1, 1, 2] at 9/10 is [0.0, 0.9, 0.9, 1.8]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch
import torchvision
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes

seen = {}
for name, boxes in {"whole": [[2, 3, 5, 8], [0, 1, 1, 2]], "real": [[2.0, 3, 5, 8], [0, 1, 1, 2]]}.items():
    given = BoundingBoxes(boxes, format="XYXY", canvas_size=(10, 20))
    middles = functional.convert_bounding_box_format(given, new_format="CXCYWH")
    back = functional.convert_bounding_box_format(middles, new_format="XYXY")
    small = [round(number, 2) for number in functional.resize(given, [9, 18])[1].tolist()]
    seen[name] = back[0].tolist(), small
    print(torchvision.__version__, f"{name}: {[*map(int, boxes[0])]} is {seen[name][0]} and {boxes[1]} at 9/10 is", seen[name][1])
assert seen["whole"] == ([1, 2, 4, 7], [0, 0, 0, 1]) and seen["real"][0] == [2, 3, 5, 8]
EOF
