#!/bin/sh
# torch 2.14.1, torchvision 0.29.1: boxes of `masks_to_boxes` end at the last pixel, not behind it: they lack a row and a column,
# and an instance of one row or one pixel has no area, so that `SanitizeBoundingBoxes` removes it with its mask and label.
#
# Seen:
#   0.29.1 boxes of a row, a square of 4 and a pixel: [[1, 3, 5, 3], [2, 2, 5, 5], [7, 7, 7, 7]], left: ['square']
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.14.1 torchvision==0.29.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch
import torchvision
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms.v2 import SanitizeBoundingBoxes

masks = torch.zeros(3, 8, 8, dtype=torch.bool)
masks[0, 3, 1:6] = masks[1, 2:6, 2:6] = masks[2, 7, 7] = True
boxes = masks_to_boxes(masks)
sample = {
    "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(8, 8)),
    "masks": tv_tensors.Mask(masks),
    "labels": torch.arange(3),
}
left = [["row", "square", "pixel"][number] for number in SanitizeBoundingBoxes()(sample)["labels"]]
found = boxes.int().tolist()
version = torchvision.__version__.split("+")[0]
print(version, f"boxes of a row, a square of 4 and a pixel: {found}, left: {left}")
assert found == [[1, 3, 5, 3], [2, 2, 5, 5], [7, 7, 7, 7]] and left == ["square"]
EOF
