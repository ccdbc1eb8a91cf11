#!/bin/sh
# torch 2.13.0: `F.normalize` guards against vectors of length zero by the number 1e-12, which is zero in float16. There the vector of
# zeros, as of a cell that is padding, becomes NaN, where it stays zeros in float32 and bfloat16; and vectors longer than 65504 become
# zeros, where they have length 1 in the others. So is 0 their `F.cosine_similarity` with themselves, and NaN that with zeros.
#
# Seen:
#   2.13.0+cpu float32 zeros 0.0 long 1.0 cosines 0.0 1.0
#   2.13.0+cpu bfloat16 zeros 0.0 long 1.0 cosines 0.0 1.0
#   2.13.0+cpu float16 zeros nan long 0.0 cosines nan 0.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import math

import torch
import torch.nn.functional as F

found = {}
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    zeros, long = torch.zeros(4, dtype=dtype), torch.full((4,), 40_000.0, dtype=dtype)
    lengths = [F.normalize(each, dim=0).float().norm().item() for each in (zeros, long)]
    cosines = [F.cosine_similarity(each, long, dim=0).item() for each in (zeros, long)]
    name = str(dtype).removeprefix("torch.")
    found[name] = [round(each, 3) for each in lengths + cosines]
    print(torch.__version__, name, "zeros {} long {} cosines {} {}".format(*found[name]))
assert found["float32"] == found["bfloat16"] == [0, 1, 0, 1]
assert [math.isnan(each) for each in found["float16"]] == [True, False, True, False]
assert found["float16"][1] == found["float16"][3] == 0
EOF
