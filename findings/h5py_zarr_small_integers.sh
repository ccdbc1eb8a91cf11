#!/bin/sh
# h5py 3.16.0, zarr 3.1.6, numpy 2.4.6: a map of ids in numpy's own integers (int64) that is assigned to an array of 8 bits is cut
# to what these hold by h5py, and wraps around in zarr: -1, often "no class", becomes 0 in the one and 255 in the other, and 300
# becomes 255 and 44. Both say nothing, though both refuse the number 300 alone.
#
# Seen:
#   -1, 0, 255, 300: h5py 3.16.0 [0, 0, 255, 255], zarr 3.1.6 [255, 0, 255, 44]
#   300 alone: OverflowError OverflowError
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile h5py==3.16.0 zarr==3.1.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import h5py
import numpy as np
import zarr

ids = np.array([-1, 0, 255, 300])
file = h5py.File("ids.h5", "w")
stores = [file.create_dataset("ids", ids.shape, "u1"), zarr.create_array("ids.zarr", shape=ids.shape, dtype="u1")]
found, refused = [], []
for store in stores:
    store[:] = ids
    found.append(store[:].tolist())
    try:
        store[0] = 300
    except OverflowError as error:
        refused.append(type(error).__name__)
print(f"-1, 0, 255, 300: h5py {h5py.__version__} {found[0]}, zarr {zarr.__version__} {found[1]}")
print("300 alone:", *refused)
assert found == [[0, 0, 255, 255], [255, 0, 255, 44]] and len(refused) == 2
assert file.create_dataset("made", data=ids, dtype="u1")[:].tolist() == found[0]
EOF
