#!/bin/sh
# safetensors 0.8.0, numpy 2.4.6: `safetensors.numpy.save` writes an array that is not C-contiguous (a transposed or a
# strided view) as its memory lies, under the shape of the view. What is loaded has the right shape, type and numbers,
# in another order, and nothing is said. 0.7.0 wrote it as it is.
#
# Seen:
#   0.8.0 [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] -> [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 safetensors==0.8.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import safetensors
from safetensors.numpy import load, save

array = np.arange(6, dtype=np.float32).reshape(2, 3).T
back = load(save({"a": array}))["a"]
print(safetensors.__version__, array.tolist(), "->", back.tolist())
assert back.shape == array.shape and back.ravel().tolist() == [0, 1, 2, 3, 4, 5]
whole = load(save({"a": np.ascontiguousarray(array)}))["a"]
assert np.array_equal(whole, array)
EOF
