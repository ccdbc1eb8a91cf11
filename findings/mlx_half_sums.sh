#!/bin/sh
# mlx 0.32.4 on a CPU, numpy 2.4.6: sums are kept in the type of the numbers. A softmax of 1000 equal logits in bfloat16 adds up
# to 3.9, each being 1/256, where `precise=True` is not asked for; the mean of 2000 numbers 100 in float16 is inf; and 2 ** 25
# ones in float32 add up to 2 ** 24.
#
# Seen:
#   0.32.4 softmax of 1000 equal logits: sum 3.90625, with precise=True 1.00
#   0.32.4 mean of 2000 numbers 100 in float16: inf, sum of 2 ** 25 ones in float32: 16777216.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile mlx[cpu]==0.32.4 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import math
from importlib.metadata import version

import mlx.core as mx

mx.set_default_device(mx.cpu)
logits = mx.zeros((1, 1000), mx.bfloat16)
softmax, precise = (mx.softmax(logits, axis=-1, precise=way).astype(mx.float32).sum().item() for way in (False, True))
mean, ones = mx.full((2000,), 100, mx.float16).mean().item(), mx.ones((2**25,)).sum().item()
print(version("mlx"), f"softmax of 1000 equal logits: sum {softmax}, with precise=True {precise:.2f}")
print(version("mlx"), f"mean of 2000 numbers 100 in float16: {mean}, sum of 2 ** 25 ones in float32: {ones}")
assert softmax > 3.9 and abs(precise - 1) < 0.01 and mean == math.inf and ones == 2**24
EOF
