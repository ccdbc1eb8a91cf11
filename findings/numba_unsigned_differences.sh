#!/bin/sh
# numba 0.68.1, numpy 2.4.6: whole numbers without a sign become ones of 64 bits, also without one, where two are taken from one
# another in a compiled loop. So the absolute difference of levels 1 and 2 of two pictures is not 1, nor 255 as in numpy, but
# 18446744073709551615, and an error summed over a picture 1.8e19. And 2 ** 25 ones in float32 have a mean of 0.5.
#
# Seen:
#   0.68.1 |1 - 2| + |5 - 3| in uint8: 1.84467e+19
#   0.68.1 |1 - 2| + |5 - 3| in uint16: 1.84467e+19
#   0.68.1 |1 - 2| + |5 - 3| in int16: 3
#   0.68.1 mean of 2 ** 25 ones: 0.5, in numpy 1.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numba==0.68.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numba
import numpy as np


@numba.njit
def differences(a, b):
    total = 0.0
    for k in range(a.size):
        total += abs(a[k] - b[k])
    return total


@numba.njit
def mean(a):
    return a.mean()


seen = {}
for kind in (np.uint8, np.uint16, np.int16):
    seen[kind.__name__] = differences(np.array([1, 5], kind), np.array([2, 3], kind))
    print(numba.__version__, f"|1 - 2| + |5 - 3| in {kind.__name__}: {seen[kind.__name__]:g}")
ones = np.ones(2**25, np.float32)
print(numba.__version__, f"mean of 2 ** 25 ones: {mean(ones)}, in numpy {ones.mean()}")
assert seen["uint8"] == seen["uint16"] > 1e19 and seen["int16"] == 3 and mean(ones) == 0.5
EOF
