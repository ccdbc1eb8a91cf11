#!/bin/sh
# blosc2 4.14.1, numpy 2.4.6: of numbers of which one is NaN, `argmax` and `argmin` give the first place, which holds neither the largest
# number nor NaN; if there are several chunks, the largest number of those without NaN. numpy gives the place of the NaN, which
# `max` of blosc2 has too.
#
# Seen:
#   4.14.1 [1.0, nan, 3.0] argmax 0, argmin 0, max nan; numpy 1, 1, nan
#   4.14.1 0 to 29 with nan at 25 in chunks of 10: argmax 19; numpy 25
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile blosc2==4.14.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import blosc2
import numpy as np

row, long = np.array([1, np.nan, 3]), np.arange(30.0)
long[25] = np.nan
few, many = blosc2.asarray(row), blosc2.asarray(long, chunks=(10,), blocks=(5,))
seen = int(few.argmax()), int(few.argmin())
print(blosc2.__version__, f"{row.tolist()} argmax {seen[0]}, argmin {seen[1]}, max {few.max()};", end=" ")
print(f"numpy {row.argmax()}, {row.argmin()}, {row.max()}")
far = int(many.argmax())
print(blosc2.__version__, f"0 to 29 with nan at 25 in chunks of 10: argmax {far}; numpy {long.argmax()}")
assert seen == (0, 0) and np.isnan(few.max()) and row.argmax() == row.argmin() == 1 and far == 19
EOF
