#!/bin/sh
# torch 2.13.0: on a CPU, `norm` and `linalg.vector_norm` add float32 numbers in a few running sums, where `sum` adds them in pairs.
# Of 2**26 numbers 0.1, with one thread, two thirds of the sum of magnitudes are lost, and one part in 200 of the length, of which
# clipping of gradients is made. With dtype=torch.float64 both are right.
#
# Seen:
#   2.13.0+cpu magnitudes 0.3125 length 0.9953 sum 1.0 in float64 1.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch

torch.set_num_threads(1)
x = torch.full((2**26,), 0.1)
exact = float(x[0]) * 2**26, float(x[0]) * 2**13
magnitudes = x.norm(1).item() / exact[0]
length = torch.nn.utils.get_total_norm([x]).item() / exact[1]
added = x.sum().item() / exact[0]
double = torch.linalg.vector_norm(x, dtype=torch.float64).item() / exact[1]
print(torch.__version__, *("magnitudes", round(magnitudes, 4), "length", round(length, 4)), end=" ")
print("sum", round(added, 4), "in float64", round(double, 4))
assert magnitudes < 0.5 and length < 0.998
assert abs(added - 1) < 1e-5 and abs(double - 1) < 1e-9
EOF
