#!/bin/sh
# torchmetrics 1.9.0, torch 2.14.1, torchvision 0.29.1: `IntersectionOverUnion` of boxes is the mean over all pairs of a found
# and a true box of one class in a picture, also of those that have nothing to do with one another. Whoever finds every box
# exactly has 1 with one object, 0.5 with two and 0.1 with ten. Its generalized, distance and complete forms do the same.
#
# Seen:
#   1.9.0 IntersectionOverUnion: 1 of 1 found exactly: 1.0
#   1.9.0 IntersectionOverUnion: 2 of 2 found exactly: 0.5
#   1.9.0 IntersectionOverUnion: 10 of 10 found exactly: 0.1
#   1.9.0 GeneralizedIntersectionOverUnion: 1 of 1 found exactly: 1.0
#   1.9.0 GeneralizedIntersectionOverUnion: 2 of 2 found exactly: 0.333
#   1.9.0 GeneralizedIntersectionOverUnion: 10 of 10 found exactly: -0.504
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torchmetrics==1.9.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch
import torchmetrics
from torchmetrics import detection

found = {}
for name in ("IntersectionOverUnion", "GeneralizedIntersectionOverUnion"):
    for count in (1, 2, 10):
        left = 20.0 * torch.arange(count)
        boxes, classes = torch.stack([left, left * 0, left + 10, left * 0 + 10], 1), torch.ones(count, dtype=torch.long)
        truth = {"boxes": boxes, "labels": classes}
        metric = getattr(detection, name)()
        metric.update([{**truth, "scores": torch.ones(count)}], [truth])
        (found[name, count],) = (round(float(number), 3) for number in metric.compute().values())
        print(torchmetrics.__version__, f"{name}: {count} of {count} found exactly: {found[name, count]}")
assert [found["IntersectionOverUnion", count] for count in (1, 2, 10)] == [1, 0.5, 0.1]
assert found["GeneralizedIntersectionOverUnion", 10] < 0
EOF
