#!/bin/sh
# torch 2.14.1, torchvision 0.29.1: `batched_nms` is to leave boxes of different classes alone. It moves each class by the
# largest coordinate plus 1, so that where coordinates are negative, as those of boxes that reach beyond the picture before they
# are cut, boxes of one class fall on those of another and remove them, though they do not even touch. From 1001 boxes on, on a
# CPU, it takes every class by itself, and keeps them.
#
# Seen:
#   0.29.1+cu130 two boxes of two classes: [0] are kept, as one class [0, 1]
#   0.29.1+cu130 of 1000 boxes 999 are kept, of 1002 1002
#   0.29.1+cu130 500 boxes around 0: 370 are kept, class by class 380
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
from torchvision.ops import batched_nms, nms

boxes = torch.tensor([[100, 100, 200, 200], [-101, -101, -1, -1.0]])
scores, classes = torch.tensor([0.9, 0.8]), torch.tensor([0, 1])
of_two, of_one_class = batched_nms(boxes, scores, classes, 0.5).tolist(), nms(boxes, scores, 0.5).tolist()
print(torchvision.__version__, f"two boxes of two classes: {of_two} are kept, as one class {of_one_class}")
far = torch.cat([boxes + 1000 * torch.arange(k, k + 1) for k in range(501)])
many = [a.repeat(501) for a in (scores, classes)]
kept = [len(batched_nms(far[:n], many[0][:n], many[1][:n], 0.5)) for n in (1000, 1002)]
print(torchvision.__version__, f"of 1000 boxes {kept[0]} are kept, of 1002 {kept[1]}")
drawn = torch.Generator().manual_seed(0)
middle, side = torch.rand(500, 2, generator=drawn) * 120 - 60, torch.rand(500, 2, generator=drawn) * 40 + 10
around = torch.cat([middle - side / 2, middle + side / 2], 1)
scores, classes = torch.rand(500, generator=drawn), torch.randint(0, 3, (500,), generator=drawn)
apart = sum(len(nms(around[classes == k], scores[classes == k], 0.5)) for k in range(3))
together = len(batched_nms(around, scores, classes, 0.5))
print(torchvision.__version__, f"500 boxes around 0: {together} are kept, class by class {apart}")
assert of_two == [0] and of_one_class == [0, 1] and together < apart and kept[1] == 1002
EOF
