#!/bin/sh
# torch 2.13.0: on a CPU, the gradient of what is looked up in bfloat16 more than once is added up in bfloat16, one by one, and
# stands still at 256: that of `embedding` and `x[rows]` for a row that is used 1000 times. That of `index_select`, `gather` and
# `expand` is 1000, as all are in float32, and under autocast, which leaves the tables of lookups alone.
#
# Seen:
#   2.13.0+cpu {'embedding': 256.0, 'index_select': 1000.0, 'rows': 256.0, 'gather': 1000.0, 'expand': 1000.0} float32 1000.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch
import torch.nn.functional as F

ids = torch.zeros(1000, dtype=torch.long)
WAYS = {
    "embedding": lambda x: F.embedding(ids, x),
    "index_select": lambda x: x.index_select(0, ids),
    "rows": lambda x: x[ids],
    "gather": lambda x: x.gather(0, ids[:, None]),
    "expand": lambda x: x[:1].expand(1000, 1),
}


def counted(way, dtype):
    table = torch.zeros(3, 1, dtype=dtype, requires_grad=True)
    WAYS[way](table).sum().backward()
    return table.grad[0].item()


found = {way: counted(way, torch.bfloat16) for way in WAYS}
print(torch.__version__, found, "float32", counted("embedding", torch.float32))
assert found["embedding"] == found["rows"] == 256
assert found["index_select"] == found["gather"] == found["expand"] == 1000 == counted("embedding", torch.float32)
EOF
