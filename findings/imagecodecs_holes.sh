#!/bin/sh
# imagecodecs 2026.3.6, tifffile 2026.3.3, rasterio 1.4.4: places of a depth map that are NaN, as they were not measured, come back as
# 0.0 from LERC, which keeps them in a mask that `lerc_decode` leaves unless `masks=True`; tifffile so reads 0.0 in files of its own and
# of GDAL, whose own reader has NaN. In JPEG XL without loss NaN of float16 becomes inf, and that of float32 is whole.
#
# Seen:
#   2026.3.6 [1.5, nan] LERC float32: [1.5, 0.0], JPEG XL float32: [1.5, nan], float16: [1.5, inf]
#   2026.3.3 1.4.4 TIFF of tifffile read by tifffile: [1.5, 0.0], by rasterio: [1.5, nan]
#   2026.3.3 1.4.4 TIFF of rasterio read by tifffile: [1.5, 0.0], by rasterio: [1.5, nan]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile imagecodecs==2026.3.6 tifffile==2026.3.3 rasterio==1.4.4 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import imagecodecs
import numpy as np
import rasterio
import tifffile

warnings.simplefilter("ignore")
depth = np.repeat([[1.5, np.nan]], 8, 0).repeat(8, 1).astype(np.float32)


def row(values):
    return values[0, ::8].astype(float).tolist()


def xl(values):
    return row(imagecodecs.jpegxl_decode(imagecodecs.jpegxl_encode(values, lossless=True)))


def read(path):
    with rasterio.open(path) as opened:
        return row(tifffile.imread(path)), row(opened.read(1))


lerc, single, half = row(imagecodecs.lerc_decode(imagecodecs.lerc_encode(depth))), xl(depth), xl(depth.astype(np.float16))
print(imagecodecs.__version__, f"[1.5, nan] LERC float32: {lerc}, JPEG XL float32: {single}, float16: {half}")
tifffile.imwrite("tifffile.tif", depth, compression="lerc")
size = {"height": 8, "width": 16, "count": 1, "dtype": "float32"}
with rasterio.open("rasterio.tif", "w", driver="GTiff", compress="LERC", **size) as opened:
    opened.write(depth, 1)
assert lerc == [1.5, 0] and np.array_equal(single, [1.5, np.nan], equal_nan=True) and half == [1.5, np.inf]
for name in ("tifffile", "rasterio"):
    ours, theirs = read(f"{name}.tif")
    print(tifffile.__version__, rasterio.__version__, f"TIFF of {name} read by tifffile: {ours}, by rasterio: {theirs}")
    assert ours == [1.5, 0] and np.array_equal(theirs, [1.5, np.nan], equal_nan=True)
EOF
