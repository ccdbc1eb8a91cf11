#!/bin/sh
# torch 2.13.0: `torch.distributed.checkpoint.load` copies what a checkpoint holds into a tensor of another type by a silent
# cast: 1.7 becomes 1 in an int64, and -2.5 becomes 254 in a uint8.
#
# Seen:
#   2.13.0+cpu {'torch.bfloat16': [1.703125, -2.5], 'torch.int64': [1, -2], 'torch.uint8': [1, 254]}
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
PYTHONWARNINGS=ignore "$work/venv/bin/python" - <<'EOF'
import torch
import torch.distributed.checkpoint as dcp

dcp.save({"a": torch.tensor([1.7, -2.5])}, checkpoint_id="saved", no_dist=True)
found = {}
for dtype in (torch.bfloat16, torch.int64, torch.uint8):
    state = {"a": torch.zeros(2, dtype=dtype)}
    dcp.load(state, checkpoint_id="saved", no_dist=True)
    found[str(dtype)] = state["a"].tolist()
print(torch.__version__, found)
assert found["torch.int64"] == [1, -2] and found["torch.uint8"] == [1, 254]
EOF
