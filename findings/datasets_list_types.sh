#!/bin/sh
# datasets 5.2.0 (numpy 2.4.6): with_format("numpy") gives a list of uint8 as int64 and a list of float64 as float32, though
# the features still say uint8 and float64, and a single float64 stays one. 16777217 becomes 16777216.
#
# Seen:
#   5.2.0 {'ids': List(Value('uint8')), 'numbers': List(Value('float64')), 'number': Value('float64')} {'ids':
#   'int64', 'numbers': 'float32', 'number': 'float64'} 1.6777216e+07
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 datasets==5.2.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/hf" "$work/venv/bin/python" - <<'EOF'
import datasets
import numpy as np

made = datasets.Dataset.from_dict(
    {"ids": [np.array([1, 2], np.uint8)], "numbers": [np.array([16777217.0, 0.1])], "number": [16777217.0]}
)
row = made.with_format("numpy")[0]
print(datasets.__version__, made.features, {k: str(v.dtype) for k, v in row.items()}, row["numbers"][0])
assert "uint8" in str(made.features["ids"]) and "float64" in str(made.features["numbers"])
assert (row["ids"].dtype, row["numbers"].dtype, row["number"].dtype) == (np.int64, np.float32, np.float64)
assert row["numbers"][0] == 16777216 and row["number"] == 16777217
EOF
