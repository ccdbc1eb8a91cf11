#!/bin/sh
# open3d 0.20.0, trimesh 5.2.0, numpy 2.4.6: `transform` turns normals by the matrix that moves the points, where the inverse of
# its transpose is due, so those of a sphere that is made three times as tall point up to 53 degrees away from its surface, and
# are up to 3 long. `voxel_down_sample` gives means of normals, which are shorter than 1. trimesh has them right.
#
# Seen:
#   0.20.0 open3d: up to 53.1 degrees away, lengths up to 3.00
#   5.2.0 trimesh: up to 0.4 degrees away
#   0.20.0 one point of two with normals 90 degrees apart: length 0.71
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile open3d==0.20.0 trimesh==5.2.0 scipy==1.17.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import open3d
import trimesh


def away(found, right):
    found, right = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (found, right))
    return round(float(np.degrees(np.arccos(np.clip((found * right).sum(1), -1, 1))).max()), 1)


tall, points = np.diag([1, 1, 3, 1.0]), trimesh.creation.icosphere(4).vertices
right = points / [1, 1, 3]  # of an ellipsoid, to scale
vectors = open3d.utility.Vector3dVector
cloud = open3d.geometry.PointCloud(vectors(points))
cloud.normals = vectors(points)
found = np.asarray(cloud.transform(tall).normals)
other = trimesh.creation.icosphere(4)
other.vertex_normals
other.apply_transform(tall)
seen = {"open3d": away(found, right), "trimesh": away(other.vertex_normals, right)}
print(open3d.__version__, f"open3d: up to {seen['open3d']} degrees away, lengths up to {np.linalg.norm(found, axis=1).max():.2f}")
print(trimesh.__version__, f"trimesh: up to {seen['trimesh']} degrees away")
corner = open3d.geometry.PointCloud(vectors(np.zeros((2, 3))))
corner.normals = vectors(np.eye(3)[:2])
length = float(np.linalg.norm(np.asarray(corner.voxel_down_sample(1.0).normals)[0]))
print(open3d.__version__, f"one point of two with normals 90 degrees apart: length {length:.2f}")
assert seen["open3d"] > 50 and seen["trimesh"] < 3 and length < 0.72
EOF
