#!/bin/sh
# torchmetrics 1.9.0, torch 2.13.0, numpy 2.4.6: the area under the curve depends on ranks alone, so that logits should serve as
# well as probabilities. A batch that holds a number outside [0, 1] goes through a sigmoid, in which float32 makes one number of
# all large ones: the same ranks score less the larger they are. A batch whose logits all lie inside goes as it is, so that
# scores depend on which samples were in a batch together, also those of accuracy.
#
# Seen:
#   1.9.0 logits times 1: area 0.754
#   1.9.0 logits times 10: area 0.752
#   1.9.0 logits times 100: area 0.692
#   1.9.0 area in one batch 0.833, in two 1.0
#   1.9.0 accuracy in one batch 1.0, in two 0.333
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch
import torchmetrics
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC


def score(metric, *batches):
    for scores, truth in batches:
        metric.update(torch.as_tensor(scores), torch.as_tensor(truth))
    return round(float(metric.compute()), 3)


drawn = torch.Generator().manual_seed(0)
truth = torch.randint(0, 2, (1000,), generator=drawn)
logits = torch.randn(1000, generator=drawn) + truth
scaled = {by: score(BinaryAUROC(), (logits * by, truth)) for by in (1, 10, 100)}
for by, found in scaled.items():
    print(torchmetrics.__version__, f"logits times {by}: area {found}")
area = score(BinaryAUROC(), ([0.1, 0.3, 2.0, 0.2, -0.5], [0, 0, 1, 1, 0])), score(
    BinaryAUROC(), ([0.1, 0.3], [0, 0]), ([2.0, 0.2, -0.5], [1, 1, 0])
)
right = score(BinaryAccuracy(), ([0.2, 0.4, -3.0], [1, 1, 0])), score(BinaryAccuracy(), ([0.2, 0.4], [1, 1]), ([-3.0], [0]))
for name, (one, two) in {"area": area, "accuracy": right}.items():
    print(torchmetrics.__version__, f"{name} in one batch {one}, in two {two}")
assert scaled[1] > scaled[10] > scaled[100] + 0.02 and area == (0.833, 1) and right == (1, 0.333)
EOF
