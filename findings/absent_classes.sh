#!/bin/sh
# torchmetrics 1.9.0, kornia 0.9.0, torch 2.14.1: for a class that neither the truth nor the prediction has, the overlap by
# class is -1, 0 or NaN within torchmetrics, by metric, and 1 in kornia, whose mean of a picture with two of 150 classes is
# therefore near 1 whatever is predicted; and the mean area under the curve counts 0 for it, so that a perfect model of two of
# four classes has 0.5.
#
# Seen:
#   1.9.0 MeanIoU of an absent class: -1.0
#   1.9.0 GeneralizedDiceScore of an absent class: 0.0
#   1.9.0 DiceScore of an absent class: nan
#   1.9.0 MulticlassJaccardIndex of an absent class: 0.0
#   0.9.0 kornia, of an absent class: 1.0, mean of 150 0.99
#   1.9.0 MulticlassAUROC of a perfect model, two of four classes: 0.5
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torchmetrics==1.9.0 kornia==0.9.0 torch==2.14.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import kornia
import torch
import torchmetrics
from torchmetrics import classification, segmentation

truth, wrong = torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 4, 4, dtype=torch.long)
truth[0, 0], wrong[0, 1] = 1, 1
metrics = {
    "MeanIoU": segmentation.MeanIoU(4, per_class=True, input_format="index"),
    "GeneralizedDiceScore": segmentation.GeneralizedDiceScore(4, per_class=True, input_format="index"),
    "DiceScore": segmentation.DiceScore(4, average="none", input_format="index"),
    "MulticlassJaccardIndex": classification.MulticlassJaccardIndex(4, average="none"),
}
seen = {}
for name, metric in metrics.items():
    metric.update(wrong, truth)
    seen[name] = round(float(metric.compute().flatten()[-1]), 3)
    print(torchmetrics.__version__, f"{name} of an absent class: {seen[name]}")
overlap = kornia.metrics.mean_iou(wrong.reshape(1, -1), truth.reshape(1, -1), 150)[0]
seen["kornia"] = round(float(overlap[-1]), 3), round(float(overlap.mean()), 3)
print(kornia.__version__, "kornia, of an absent class: {}, mean of 150 {}".format(*seen["kornia"]))
area = classification.MulticlassAUROC(4)
area.update(torch.eye(4)[truth.flatten()], truth.flatten())
perfect = float(area.compute())
print(torchmetrics.__version__, f"MulticlassAUROC of a perfect model, two of four classes: {perfect}")
assert [seen["MeanIoU"], seen["GeneralizedDiceScore"], seen["MulticlassJaccardIndex"], perfect] == [-1, 0, 0, 0.5]
assert seen["DiceScore"] != seen["DiceScore"] and seen["kornia"][0] == 1 and seen["kornia"][1] > 0.98
EOF
