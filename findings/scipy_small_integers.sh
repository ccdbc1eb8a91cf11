#!/bin/sh
# scipy 1.17.1, scikit-learn 1.9.1, numpy 2.4.6: `distance.euclidean`, `cityblock`, `chebyshev` and `cosine` subtract and multiply
# in the type that they are given, so of colors or vectors in 8 bits they wrap around: 206 for 50, and no distance for vectors
# that are almost at a right angle; of int8 `cosine` may also raise. `sqeuclidean` and `cdist` are right. Of scikit-learn
# `max_error` wraps.
#
# Seen:
#   1.17.1 of (200, 3) and (250, 3): euclidean 206.0, cityblock 206.0, chebyshev 206.0, sqeuclidean 2500.0, cdist 50.0
#   1.17.1 cosine of (200, 3) and (3, 200): 0.0 (0.97); of (100, 30) and (30, 100) in int8: ValueError
#   1.9.1 max_error 206.0, mean_absolute_error 25.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile scipy==1.17.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import numpy as np
import scipy
import sklearn
from scipy.spatial import distance
from sklearn.metrics import max_error, mean_absolute_error

warnings.simplefilter("ignore")
a, b = np.array([[200, 3], [250, 3]], np.uint8)
NAMES = ("euclidean", "cityblock", "chebyshev", "sqeuclidean")
seen = {name: float(getattr(distance, name)(a, b)) for name in NAMES} | {"cdist": distance.cdist([a], [b]).item()}
print(scipy.__version__, "of (200, 3) and (250, 3):", ", ".join(f"{name} {number}" for name, number in seen.items()))
across = distance.cosine(a, a[::-1])
right = round(distance.cdist([a], [a[::-1]], "cosine").item(), 2)
try:
    signed = distance.cosine(np.array([100, 30], np.int8), np.array([30, 100], np.int8))
except ValueError as error:
    signed = type(error).__name__
print(scipy.__version__, f"cosine of (200, 3) and (3, 200): {across} ({right});", end=" ")
print(f"of (100, 30) and (30, 100) in int8: {signed}")
most, mean = max_error(a, b), mean_absolute_error(a, b)
print(sklearn.__version__, f"max_error {float(most)}, mean_absolute_error {mean}")
assert list(seen.values()) == [206, 206, 206, 2500, 50] and (most, mean) == (206, 25)
assert (across, right, signed) == (0, 0.97, "ValueError")
EOF
