#!/bin/sh
# torch 2.13.0: `torch.optim.Muon` makes updates orthogonal in bfloat16, of weights in float32 and float64 too, and has no option for
# it. So the update of a float64 matrix has 8 significant bits; and where no hardware multiplies bfloat16, the optimizer takes
# longer than the backward pass: on a processor with AVX2 alone two matrices of 512 x 192 and 192 x 576 took 290 ms a step,
# of which the same products in float32 take 15.
#
# Seen:
#   2.13.0+cpu float32: update is bfloat16 True
#   2.13.0+cpu float64: update is bfloat16 True
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'EOF'
import torch

torch.manual_seed(0)
for dtype in (torch.float32, torch.float64):
    weight = torch.nn.Parameter(torch.zeros(16, 32, dtype=dtype))
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0)
    weight.grad = torch.randn(16, 32, dtype=dtype)
    optimizer.step()  # the scale of a matrix that is wider than tall is 1, so the weight is the update
    rounded = torch.equal(weight.detach(), weight.detach().bfloat16().to(dtype))
    print(torch.__version__, f"{str(dtype).removeprefix('torch.')}: update is bfloat16 {rounded}")
    assert rounded
EOF
