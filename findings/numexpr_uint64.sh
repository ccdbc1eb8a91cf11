#!/bin/sh
# numexpr 2.14.2, pandas 3.1.1: numexpr takes uint64 for int64, so numbers from 2**63 on, half of all hashes of 64 bits, are negative.
# Where it is installed pandas uses it for `query` and `eval`, and rows are not found that are found without it, or by `frame["key"]`.
#
# Seen:
#   2.14.2 2**63 + 5 is 9223372036854775813, plus 1: -9223372036854775802, halved: -4.611686018427388e+18
#   3.1.1 rows of two with key > 100: 1; query("key > 100"): 0, with engine="python": 1
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numexpr==2.14.2 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numexpr
import numpy as np
import pandas as pd

key = np.array([2**63 + 5, 7], np.uint64)
more, half = numexpr.evaluate("key + 1")[0].item(), numexpr.evaluate("key / 2")[0].item()
print(numexpr.__version__, f"2**63 + 5 is {key[0]}, plus 1: {more}, halved: {half}")
frame = pd.DataFrame({"key": key})
true = int((frame["key"] > 100).sum())
found = len(frame.query("key > 100")), len(frame.query("key > 100", engine="python"))
print(pd.__version__, f'rows of two with key > 100: {true}; query("key > 100"): {found[0]}, with engine="python": {found[1]}')
assert more < 0 and half < 0 and true == 1 and found == (0, 1)
EOF
