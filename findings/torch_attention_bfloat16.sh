#!/bin/sh
# torch 2.13.0: on a CPU, training through scaled_dot_product_attention takes longer in bfloat16 than in float32, although the
# processor multiplies bfloat16 faster (AVX-512 BF16), and several times as long as the three plain lines in bfloat16, which
# multiply, take the softmax and multiply again. Forward alone it is not slower. Nothing says so.
#
# Seen: milliseconds of processor time forward and back, 16 samples, 6 heads of 32: fused bfloat16, fused float32, plain bfloat16:
#   2.13.0+cpu 64 tokens: 15.1 4.6 3.1
#   2.13.0+cpu 256 tokens: 62.8 48.8 44.1
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import time

import torch
from torch.nn.functional import scaled_dot_product_attention as fused

torch.set_num_threads(1)


def plain(q, k, v):
    return (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1) @ v


def milliseconds(attention, dtype, tokens):
    q, k, v = (torch.randn(16, 6, tokens, 32, dtype=dtype, requires_grad=True) for _ in range(3))
    times = []
    for _ in range(10):
        began = time.process_time()
        attention(q, k, v).sum().backward()
        times.append(time.process_time() - began)
    return 1000 * min(times)


for tokens in (64, 256):
    half, single = (milliseconds(fused, dtype, tokens) for dtype in (torch.bfloat16, torch.float32))
    lines = milliseconds(plain, torch.bfloat16, tokens)
    print(torch.__version__, f"{tokens} tokens: {half:.1f} {single:.1f} {lines:.1f}")
    assert half > 1.1 * single
EOF
