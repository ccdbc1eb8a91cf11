#!/bin/sh
# zarr 3.1.6, tensorstore 0.1.86, h5py 3.16.0, numpy 2.4.6: an array that is cut and grown again has what was cut off in its new
# part, as far as the last chunk goes, for a chunk is only removed where all of it is cut. tensorstore leaves them all. h5py
# gives zeros.
#
# Seen:
#   zarr 3.1.6 1 2 3 4 5 6 0 0 0 0
#   tensorstore 0.1.86 1 2 3 4 5 6 7 8 9 10
#   h5py 3.16.0 1 2 3 4 0 0 0 0 0 0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile zarr==3.1.6 tensorstore==0.1.86 h5py==3.16.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import h5py
import numpy as np
import tensorstore
import zarr

rows = np.arange(1, 11, dtype=np.float32)
array = zarr.create_array("zarr", shape=(10,), chunks=(6,), dtype="f4", fill_value=0)
array[:] = rows
array.resize((4,))
array.resize((10,))
found = {"zarr": array[:].tolist()}
spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": "tensorstore"}}
store = tensorstore.open(spec, create=True, dtype=tensorstore.float32, shape=[10], fill_value=0).result()
store[:] = rows
for size in (4, 10):
    store = store.resize(exclusive_max=[size]).result()
found["tensorstore"] = store.read().result().tolist()
with h5py.File("rows.h5", "w") as file:
    table = file.create_dataset("rows", data=rows, maxshape=(None,), chunks=(6,))
    table.resize((4,))
    table.resize((10,))
    found["h5py"] = table[:].tolist()
for name, numbers in found.items():
    print(name, version(name), *(int(number) for number in numbers))
zeros = [0] * 4
assert found["zarr"] == [1, 2, 3, 4, 5, 6, *zeros] and found["tensorstore"] == rows.tolist()
assert found["h5py"] == [1, 2, 3, 4, 0, 0, *zeros]
EOF
