#!/bin/sh
# OpenEXR 3.5.3: an array that is a view is written as the memory from its first number on lies: a crop of a depth map holds what stands
# right of it, a transposed one is shuffled. Nothing warns, and the size is right. `np.ascontiguousarray` is needed.
#
# Seen:
#   3.5.3 crop [[1.0, 2.0], [3.0, 4.0]] instead of [[1.0, 2.0], [5.0, 6.0]] / transposed [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile OpenEXR==3.5.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import OpenEXR


def again(depth):
    OpenEXR.File({}, {"Z": depth}).write("depth.exr")
    return OpenEXR.File("depth.exr").channels()["Z"].pixels.tolist()


depth = np.arange(16, dtype=np.float32).reshape(4, 4)
crop, turned = depth[:2, 1:3], np.arange(6, dtype=np.float32).reshape(2, 3).T
found = again(crop), again(turned)
print(OpenEXR.__version__, "crop", found[0], "instead of", crop.tolist(), "/ transposed", found[1])
assert found == ([[1, 2], [3, 4]], [[0, 1], [2, 3], [4, 5]])
assert again(np.ascontiguousarray(crop)) == crop.tolist()
EOF
