#!/bin/sh
# rasterio 1.4.4, numpy 2.4.6: `reproject` with `dst_nodata=0` is as without: places that have no value keep the number that says so in
# the source. A class map in which 255 is no class, onto one in which 0 is, so has a class 255, and a hole that is NaN stays NaN;
# any other number than 0 is taken.
#
# Seen:
#   1.4.4 [0, 1, 255, 2] with 255 for none to one with 7: [0, 1, 7, 2], with 0: [0, 1, 255, 2]
#   1.4.4 [1.5, nan] with nan for none to one with -1: [1.5, -1.0], with 0: [1.5, nan]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile rasterio==1.4.4 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import reproject

place = {"transform": from_origin(0, 4, 1, 1), "crs": "EPSG:32633"}


def moved(row, none, other):
    made = np.full((1, len(row)), 9, row.dtype)
    source, target = ({f"{side}_{key}": value for key, value in place.items()} for side in ("src", "dst"))
    reproject(row[None], made, **source, **target, src_nodata=none, dst_nodata=other)
    return made[0].tolist()


for row, none, other in (np.array([0, 1, 255, 2], np.uint8), 255, 7), (np.array([1.5, np.nan], np.float32), np.nan, -1):
    some, zero = moved(row, none, other), moved(row, none, 0)
    print(rasterio.__version__, f"{row.tolist()} with {none} for none to one with {other}: {some}, with 0: {zero}")
    assert some == np.where(np.isin(np.nan_to_num(row, nan=255), 255), other, row).tolist()
    assert np.array_equal(zero, row, equal_nan=row.dtype.kind == "f")
EOF
