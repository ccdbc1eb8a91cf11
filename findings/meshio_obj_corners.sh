#!/bin/sh
# meshio 5.3.5, trimesh 5.2.0, numpy 2.4.6: normals and places in the texture of an OBJ file belong to corners of faces, each by a
# number of its own. meshio gives them to points in the order in which they stand in the file, without the numbers, as
# `point_data`; where there are as many of them as points nothing looks amiss. trimesh follows the numbers.
#
# Seen:
#   5.3.5 normals of the points: [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
#   5.2.0 normals of the points: [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile meshio==5.3.5 trimesh==5.2.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from pathlib import Path

import meshio
import numpy as np
import trimesh

lines = ["v 0 0 0", "v 1 0 0", "v 0 1 0", "vn 0 0 1", "vn 0 1 0", "vn 1 0 0", "f 1//3 2//1 3//2"]
Path("a.obj").write_text("\n".join(lines) + "\n")
stated = np.eye(3, dtype=int)[[0, 2, 1]]
found = meshio.read("a.obj").point_data["obj:vn"].astype(int)
mesh = trimesh.load("a.obj", process=False)
theirs = np.round(mesh.vertex_normals).astype(int)
for version, normals in (meshio.__version__, found), (trimesh.__version__, theirs):
    print(version, "normals of the points:", normals.tolist())
assert np.array_equal(theirs, stated) and np.array_equal(found, np.eye(3, dtype=int)[::-1])
EOF
