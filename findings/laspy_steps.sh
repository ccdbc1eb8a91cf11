#!/bin/sh
# laspy 2.7.0, numpy 2.4.6: points of `laspy.create()` are kept in whole steps of 1 cm, as soon as they are assigned, so a body or
# a room in meters turns into stairs; `header.scales` is set before. NaN, a place that no beam came back from, is put 21 thousand
# kilometers away, with a warning of numpy. Colors wrap around at 65536, though classes that are too large raise.
#
# Seen:
#   2.7.0 0.1234, 0.004, nan -> 0.12, 0.0, -21474836.48; in steps of 0.1 mm: 0.1234
#   2.7.0 red 300, 70000, -1 -> [300, 4464, 65535]; class 300: OverflowError
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile laspy==2.7.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import laspy
import numpy as np

warnings.simplefilter("ignore")
cloud, fine = laspy.create(point_format=2), laspy.create(point_format=2)
cloud.x = np.array([0.1234, 0.004, np.nan])
cloud.red = np.array([300, 70000, -1])
fine.header.scales = [1e-4] * 3
fine.x = np.array([0.1234])
try:
    cloud.classification = np.array([1, 2, 300])
    refused = None
except OverflowError as error:
    refused = type(error).__name__
places, red, kept = [round(float(x), 4) for x in cloud.x], np.asarray(cloud.red).tolist(), round(float(fine.x[0]), 6)
print(laspy.__version__, f"0.1234, 0.004, nan -> {', '.join(map(str, places))}; in steps of 0.1 mm: {kept}")
print(laspy.__version__, f"red 300, 70000, -1 -> {red}; class 300: {refused}")
assert places[:2] == [0.12, 0.0] and np.isfinite(places[2]) and kept == 0.1234
assert red == [300, 4464, 65535] and refused == "OverflowError"
EOF
