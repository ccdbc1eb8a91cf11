#!/bin/sh
# pyarrow 26.0.1, numpy 2.4.6: `FixedShapeTensorArray.from_numpy_ndarray` refuses an array in Fortran order, but takes one
# that is flipped along an inner axis (a mirrored picture), and gives other numbers back: the rows are shuffled.
#
# Seen:
#   26.0.1 [[3, 4, 5], [0, 1, 2]] -> [[3, 5, 1], [4, 0, 2]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import pyarrow as pa

mirrored = np.arange(12).reshape(2, 2, 3)[:, ::-1]
back = pa.FixedShapeTensorArray.from_numpy_ndarray(mirrored).to_numpy_ndarray()
print(pa.__version__, mirrored[0].tolist(), "->", back[0].tolist())
assert back.shape == mirrored.shape and not np.array_equal(back, mirrored)
whole = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(mirrored)).to_numpy_ndarray()
assert np.array_equal(whole, mirrored)
EOF
