#!/bin/sh
# ml_dtypes 0.6.0, numpy 2.4.6: `numpy.asarray` of a JAX array in bfloat16 is an array of ml_dtypes, which numpy adds up one by
# one in bfloat16, and so a sum of ones stands still at 256: the mean of a thousand ones is 0.256, of 100000 numbers around 0.5
# 0.0026, and of ones in 4 bits 0. `sort` leaves numbers unsorted where one is NaN, and `nan_to_num` leaves NaN. Of float16 all
# are right.
#
# Seen:
#   0.6.0 float16 means (1.0, 0.4995), sorted [1.0, 3.0, nan], filled [3.0, 0.0, 1.0]
#   0.6.0 bfloat16 means (0.2559, 0.0026), sorted [3.0, nan, 1.0], filled [3.0, nan, 1.0]
#   0.6.0 int4: sum of 100 ones 4, mean 0.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile ml_dtypes==0.6.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import ml_dtypes
import numpy as np

ones, uniform = np.ones(1000), np.random.default_rng(0).uniform(size=100_000)
holes = np.array([3, np.nan, 1])
seen = {}
for kind in (np.float16, ml_dtypes.bfloat16):
    means = round(float(ones.astype(kind).mean()), 4), round(float(uniform.astype(kind).mean()), 4)
    rows = np.sort(holes.astype(kind)).tolist(), np.nan_to_num(holes.astype(kind)).tolist()
    seen[kind] = means, *(list(map(float, row)) for row in rows)
    print(ml_dtypes.__version__, kind.__name__, "means {}, sorted {}, filled {}".format(*seen[kind]))
short = np.ones(100, ml_dtypes.int4)
print(ml_dtypes.__version__, f"int4: sum of 100 ones {int(short.sum())}, mean {float(short.mean())}")
assert seen[np.float16][:1] == ((1.0, 0.4995),) and seen[np.float16][1][:2] == [1, 3]
assert seen[ml_dtypes.bfloat16][0] == (0.2559, 0.0026) and seen[ml_dtypes.bfloat16][1][2] == 1
assert np.isnan(seen[ml_dtypes.bfloat16][2][1]) and (int(short.sum()), float(short.mean())) == (4, 0)
EOF
