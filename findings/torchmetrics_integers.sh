#!/bin/sh
# torchmetrics 1.9.0: `MeanSquaredError` and `MeanAbsoluteError` subtract and square in the type that they are given, so of pictures in
# 8 bits the differences wrap around: one of 50 counts as 206 one way and 50 the other, and its square as 196. Depths as int32 in
# tenths of millimeters wrap from 4.6 m on. `PeakSignalNoiseRatio` of the same pictures is right.
#
# Seen:
#   1.9.0 200 and 250 in 8 bits: squared 196.0 (2500), absolute 206.0 (50), psnr 14.15 (14.15)
#   1.9.0 70000 in 32 bits: squared 605032704.0 (4900000000)
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
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

made, true = (torch.full((1, 1, 4, 4), number, dtype=torch.uint8) for number in (200, 250))
squared, absolute = MeanSquaredError()(made, true).item(), MeanAbsoluteError()(made, true).item()
ratio = round(PeakSignalNoiseRatio(data_range=255.0)(made, true).item(), 2)
print(torchmetrics.__version__, f"200 and 250 in 8 bits: squared {squared} (2500), absolute {absolute} (50),", end=" ")
print(f"psnr {ratio} (14.15)")
far = torch.full((4,), 70_000, dtype=torch.int32)
wide = MeanSquaredError()(far, torch.zeros_like(far)).item()
print(torchmetrics.__version__, f"70000 in 32 bits: squared {wide} (4900000000)")
assert (squared, absolute, ratio, wide) == (196, 206, 14.15, 605_032_704)
assert MeanSquaredError()(made.float(), true.float()) == 2500
EOF
