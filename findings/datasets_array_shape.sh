#!/bin/sh
# datasets 5.2.0, numpy 2.4.6, pyarrow 26.0.1: a column of `Array2D` takes an array of another shape, without a word, and gives
# its numbers back in rows of the declared length: a portrait among landscapes comes back as stripes. Only another count of
# numbers is refused.
#
# Seen:
#   5.2.0 [[0, 1], [2, 3], [4, 5]] -> [[0, 1, 2], [3, 4, 5]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile datasets==5.2.0 numpy==2.4.6 pyarrow==26.0.1
cd "$work"
HF_HOME="$work/cache" "$work/venv/bin/python" - <<'EOF'
import datasets
import numpy as np
from datasets import Array2D, Dataset, Features

portrait = np.arange(6, dtype=np.uint8).reshape(3, 2)
declared = Features({"depth": Array2D((2, 3), "uint8")})
found = {
    "from_dict": Dataset.from_dict({"depth": [portrait]}, features=declared)[0]["depth"],
    "from_list": Dataset.from_list([{"depth": portrait.tolist()}], features=declared)[0]["depth"],
}
print(datasets.__version__, portrait.tolist(), "->", found["from_dict"])
assert found["from_dict"] == found["from_list"] == [[0, 1, 2], [3, 4, 5]]
EOF
