#!/bin/sh
# numcodecs 0.16.6, netCDF4 1.7.5.1, xarray 2026.9.0: numbers that are packed as integers with a scale wrap around where they do not
# fit: 400 m in centimeters of 16 bits is -255.36 m, with all three and without a word. A hole that is NaN is 0 m for numcodecs, and for
# netCDF4 too where a fill value is stated; xarray alone writes that. `Quantize(1)` makes inf of 1e38.
#
# Seen:
#   0.16.6 FixedScaleOffset [1.24, 400.0, nan] -> [1.24, -255.36, 0.0], Quantize 1e38 -> inf
#   1.7.5.1.post1 netCDF4 [1.24, 400.0, nan] -> [1.24, -255.36, 0.0]
#   2026.9.0 xarray [1.24, 400.0, nan] -> [1.24, -255.36, nan]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numcodecs==0.16.6 netCDF4==1.7.5.1.post1 xarray==2026.9.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import netCDF4
import numcodecs
import numpy as np
import xarray

warnings.simplefilter("ignore")
meters = np.array([1.24, 400, np.nan], np.float32)


def told(name, version, values, end="\n"):
    values = [round(float(value), 2) for value in np.ma.filled(values, np.nan)]
    print(version, name, f"[1.24, 400.0, nan] -> {values}", end=end)
    return values


codec = numcodecs.FixedScaleOffset(offset=0, scale=100, dtype="f4", astype="i2")
packed = told("FixedScaleOffset", numcodecs.__version__, codec.decode(codec.encode(meters)), ", ")
coarse = numcodecs.Quantize(1, "f4")
large = coarse.decode(coarse.encode(np.array([1e38], np.float32)))[0]
print("Quantize 1e38 ->", large)
with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("x", 3)
    variable = file.createVariable("depth", "i2", ("x",), fill_value=-1)
    variable.scale_factor = 0.01
    variable[:] = meters
    kept = told("netCDF4", netCDF4.__version__, variable[:])
how = {"depth": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1}}
xarray.Dataset({"depth": ("x", meters)}).to_netcdf("b.nc", engine="netcdf4", encoding=how)
with xarray.open_dataset("b.nc", engine="netcdf4") as opened:
    filled = told("xarray", xarray.__version__, opened["depth"].values)
assert packed == kept == [1.24, -255.36, 0] and np.isinf(large)
assert filled[:2] == [1.24, -255.36] and np.isnan(filled[2])
EOF
