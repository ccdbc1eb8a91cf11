#!/bin/sh
# tinybrain 1.7.0, numpy 2.4.6: of a picture with an odd number of rows or columns, `downsample_with_averaging` returns the smaller
# one of the right size and leaves its last row or column as the memory was, mostly black: of a picture that is 100 all over,
# half is 0. `downsample_segmentation` of the same size is whole, and so are both where sides are even.
#
# Seen:
#   1.7.0 3 x 3 means: [[100, 100], [0, 0]], classes: [[100, 100], [100, 100]]
#   1.7.0 4 x 4 means: [[100, 100], [100, 100]], classes: [[100, 100], [100, 100]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile tinybrain==1.7.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy as np
import tinybrain

seen = {}
for side in (3, 4):
    gray = np.full((side, side), 100, np.uint8)
    means = tinybrain.downsample_with_averaging(gray, (2, 2, 1), num_mips=1)[0].tolist()
    classes = tinybrain.downsample_segmentation(gray, (2, 2, 1), num_mips=1)[0].tolist()
    seen[side] = means, classes
    print(version("tinybrain"), f"{side} x {side} means: {means}, classes: {classes}")
whole = [[100, 100], [100, 100]]
assert seen[4] == (whole, whole) and seen[3][1] == whole
assert len(seen[3][0]) == 2 and seen[3][0][0] == [100, 100] and seen[3][0] != whole
EOF
