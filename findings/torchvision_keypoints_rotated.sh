#!/bin/sh
# torch 2.14.1, torchvision 0.29.1: `KeyPoints` are indices of pixels where they are mirrored and places between pixels where they
# are rotated or resized: half a turn puts one on the pixel (1, 0) a pixel off where it is in the picture, outside of it at its
# edge, and mirrored before it is enlarged it is elsewhere than after. Boxes agree.
#
# Seen:
#   0.29.1 (1, 0) of 4 x 4 after half a turn: pixel at [2, 3], by two mirrors [2, 3], by rotate [3, 4]
#   0.29.1 mirrored and doubled [4, 0], doubled and mirrored [5, 0]
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
from torchvision.transforms.v2 import functional as F

point = tv_tensors.KeyPoints(torch.tensor([[1.0, 0.0]]), canvas_size=(4, 4))
picture = tv_tensors.Image(torch.zeros(1, 4, 4))
picture[0, 0, 1] = 1
pixel = F.rotate(picture, 180)[0].nonzero()[0].flip(0).tolist()
mirrors = F.vertical_flip(F.horizontal_flip(point))
doubled = F.resize(F.horizontal_flip(point), [8, 8]), F.horizontal_flip(F.resize(point, [8, 8]))
flipped, turned, before, after = (
    [round(number) for number in each[0].tolist()] for each in (mirrors, F.rotate(point, 180), *doubled)
)
version = torchvision.__version__.split("+")[0]
print(version, f"(1, 0) of 4 x 4 after half a turn: pixel at {pixel}, by two mirrors {flipped}, by rotate {turned}")
print(version, f"mirrored and doubled {before}, doubled and mirrored {after}")
assert pixel == flipped == [2, 3] and turned == [3, 4] and (before, after) == ([4, 0], [5, 0])
EOF
