#!/bin/sh
# safetensors 0.8.0: the same arrays with the same texts in `metadata` are written as files of other bytes, as the order of
# the texts is drawn anew; one text alone is always written alike.
#
# Seen:
#   0.8.0 {'one text': 1, 'twelve texts': 20}
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile safetensors==0.8.0 numpy==2.4.6
"$work/venv/bin/python" - <<'EOF'
import hashlib

import numpy as np
import safetensors
from safetensors.numpy import save

arrays = {"a": np.zeros(3, np.float32)}
texts = {f"key{k}": "text" for k in range(12)}
made = {
    name: len({hashlib.sha256(save(arrays, metadata)).hexdigest() for _ in range(20)})
    for name, metadata in {"one text": {"format": "np"}, "twelve texts": texts}.items()
}
print(safetensors.__version__, made)
assert made["one text"] == 1 < made["twelve texts"]
EOF
