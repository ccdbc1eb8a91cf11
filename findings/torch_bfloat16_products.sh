#!/bin/sh
# torch 2.13.0: on a processor without AVX-512 BF16 or AMX, a product in bfloat16 takes several times as long as one in float32,
# and one with a weight that lies transposed dozens of times as long; neither warns. Half precision, which saves time on a GPU,
# makes training on such a processor slower. The variables cap the instructions on any x86-64 processor at AVX2.
#
# Seen: float32 / bfloat16 in processor time, for a weight in rows and one in columns:
#   2.13.0+cpu 0.12 0.016
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 "$work/venv/bin/python" - <<'EOF'
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def seconds(dtype, columns):
    x, weight = torch.randn(256, 768, dtype=dtype), torch.randn(3072, 768, dtype=dtype)
    weight = weight.t().contiguous().t() if columns else weight
    times = []
    for _ in range(3):
        began = time.process_time()
        F.linear(x, weight)
        times.append(time.process_time() - began)
    return min(times)


rows, columns = (seconds(torch.float32, c) / seconds(torch.bfloat16, c) for c in (False, True))
print(torch.__version__, round(rows, 2), round(columns, 3))
assert rows < 0.5 and columns < rows / 2
EOF
