#!/bin/sh
# numpy 2.4.6, scikit-learn 1.9.1, scipy 1.17.1: lengths and spreads of float16 numbers are summed in float16, though their mean is not.
# A vector of 1024 numbers 10 has the length 320, which float16 holds, but not its square: numpy says inf, scikit-learn makes
# zeros of it where it should be of length 1, and scipy's cosine is no number. One of small numbers has the length 0. All warn, at most,
# of an overflow; PyTorch gives 320.
#
# Seen:
#   2.4.6 length of 1024 tens inf, of 1024 numbers 0.0001 0.0 (0.0032), std of 0 and 600 inf, mean 300.0
#   1.9.1 normalized length 0.0 / 1.17.1 cosine distance nan
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import numpy as np
import scipy
import sklearn
from scipy.spatial.distance import cosine
from sklearn.preprocessing import normalize

warnings.simplefilter("ignore")
tens, small, two = np.full(1024, 10, np.float16), np.full(1024, 1e-4, np.float16), np.array([0, 600] * 5, np.float16)
lengths = [float(np.linalg.norm(each[None], axis=-1)[0]) for each in (tens, small)]
spread, mean = float(two.std()), float(two.mean())
unit = float(np.linalg.norm(normalize(tens[None]).astype(np.float64)))
distance = float(cosine(tens, tens))
print(np.__version__, f"length of 1024 tens {lengths[0]}, of 1024 numbers 0.0001 {lengths[1]} (0.0032),", end=" ")
print(f"std of 0 and 600 {spread}, mean {mean}")
print(sklearn.__version__, "normalized length", unit, "/", scipy.__version__, "cosine distance", distance)
assert lengths == [np.inf, 0] and spread == np.inf and mean == 300
assert unit == 0 and np.isnan(distance)
assert np.linalg.norm(tens.astype(np.float32)) == 320
EOF
