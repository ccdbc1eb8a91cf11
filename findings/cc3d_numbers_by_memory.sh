#!/bin/sh
# connected-components-3d 4.1.1, scipy 1.17.1, numpy 2.4.6: `cc3d.connected_components` numbers what it finds by where it lies in memory,
# not in the picture: the same map gives instances other numbers where it is stored by columns, as one that was transposed is. Of
# scipy's `label` the numbers are the same.
#
# Seen:
#   4.1.1 by rows: [[1, 0, 2], [0, 0, 0], [3, 0, 4]], by columns: [[1, 0, 3], [0, 0, 0], [2, 0, 4]]
#   1.17.1 by rows: [[1, 0, 2], [0, 0, 0], [3, 0, 4]], by columns: [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile connected-components-3d==4.1.1 scipy==1.17.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import cc3d
import numpy as np
import scipy
from scipy import ndimage

rows = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]], np.uint8)
columns = np.asfortranarray(rows)
assert np.array_equal(rows, columns)
found = [cc3d.connected_components(each).tolist() for each in (rows, columns)]
theirs = [ndimage.label(each)[0].tolist() for each in (rows, columns)]
print(version("connected-components-3d"), "by rows: {}, by columns: {}".format(*found))
print(scipy.__version__, "by rows: {}, by columns: {}".format(*theirs))
assert theirs[0] == theirs[1] == found[0] == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
assert found[1] == [[1, 0, 3], [0, 0, 0], [2, 0, 4]]
EOF
