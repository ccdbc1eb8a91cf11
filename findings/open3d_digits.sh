#!/bin/sh
# open3d 0.20.0, numpy 2.4.6: places are kept as float64 and written as text with six digits: of a cloud in meters of a map
# (UTM), points that are a meter apart become one, in PLY with `write_ascii=True` and in OBJ and OFF, which are always text. Of
# XYZ, and of PLY in binary, all comes back.
#
# Seen:
#   0.20.0 PLY as text: of three points 2 are left, the first of them 4.5 m away
#   0.20.0 PLY in binary: of three points 3 are left, the first of them 0.0 m away
#   0.20.0 XYZ as text: of three points 3 are left, the first of them 0.0 m away
#   0.20.0 OBJ as text: of three points 2 are left, the first of them 4.5 m away
#   0.20.0 OFF as text: of three points 2 are left, the first of them 4.5 m away
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile open3d==0.20.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import open3d

points = np.array([[512345.6, 5401234.5, 123.4], [512346.4, 5401233.6, 123.4], [512345.6, 5401233.6, 125.4]])
cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
mesh = open3d.geometry.TriangleMesh(cloud.points, open3d.utility.Vector3iVector([[0, 1, 2]]))
seen = {}
for name, text in (("a.ply", True), ("a.ply", False), ("a.xyz", True)):
    open3d.io.write_point_cloud(name, cloud, write_ascii=text)
    seen[name, text] = np.asarray(open3d.io.read_point_cloud(name).points)
for name in ("b.obj", "b.off"):
    open3d.io.write_triangle_mesh(name, mesh)
    seen[name, True] = np.asarray(open3d.io.read_triangle_mesh(name).vertices)
far = {}
for (name, text), found in seen.items():
    far[name, text] = len(np.unique(found, axis=0)), round(float(np.linalg.norm(found[0] - points[0])), 1)
    kind = f"{name[2:].upper()} {'as text' if text else 'in binary'}"
    print(open3d.__version__, "{}: of three points {} are left, the first of them {} m away".format(kind, *far[name, text]))
assert far["a.ply", True][0] == far["b.obj", True][0] == far["b.off", True][0] == 2
assert far["a.ply", False] == far["a.xyz", True] == (3, 0)
EOF
