#!/bin/sh
# netCDF4 1.7.5.1, h5py 3.16.0, numpy 2.4.6: class 255 of a map in 8 bits is hidden when it is read, and class -127 of one with a sign,
# though nobody stated a fill value, for these are those of the format. Maxima and means are of the rest; h5py reads the same
# file whole.
#
# Seen:
#   1.7.5.1.post1 [0, 254, 255] -> [0, 254, --], maximum 254, signed [0, -127, 127] -> [0, --, 127]
#   3.16.0 [0, 254, 255] -> [0, 254, 255]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile netCDF4==1.7.5.1.post1 h5py==3.16.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import h5py
import netCDF4
import numpy as np

maps = {"u1": [0, 254, 255], "i1": [0, -127, 127]}
with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("x", 3)
    for kind, row in maps.items():
        file.createVariable(kind, kind, ("x",))[:] = np.array(row, kind)
with netCDF4.Dataset("a.nc") as file:
    found, signed = file["u1"][:], file["i1"][:]
print(netCDF4.__version__, f"{maps['u1']} -> [{found[0]}, {found[1]}, {found[2]}], maximum {found.max()},", end=" ")
print(f"signed {maps['i1']} -> [{signed[0]}, {signed[1]}, {signed[2]}]")
with h5py.File("a.nc") as file:
    whole = file["u1"][:].tolist()
print(h5py.__version__, f"{maps['u1']} -> {whole}")
assert found.mask.tolist() == [False, False, True] and found.max() == 254
assert signed.mask.tolist() == [False, True, False] and whole == maps["u1"]
EOF
