#!/bin/sh
# pypcd4 1.5.1, numpy 2.4.6: PCD keeps a color as the bits of a float, and one with alpha 255 and a red of 128 or more is a NaN. A
# label beside it makes `numpy()` give float64, through which the bits of a NaN do not pass: a red of 128 to 191 comes back 64
# larger. Without the label the colors are whole.
#
# Seen:
#   1.5.1 reds [100, 130, 190, 200] beside labels: [100, 194, 254, 200], alone: [100, 130, 190, 200]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pypcd4==1.5.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pypcd4 import PointCloud

warnings.simplefilter("ignore")
red = [100, 130, 190, 200]
points = np.zeros(4, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4")])
points["rgb"] = (255 << 24) + (np.array(red) << 16) + 1
header = """VERSION .7
FIELDS x y z rgb label
SIZE 4 4 4 4 4
TYPE F F F F U
COUNT 1 1 1 1 1
WIDTH 4
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 4
DATA binary
"""
Path("a.pcd").write_bytes(header.encode() + points.tobytes())
cloud = PointCloud.from_path("a.pcd")


def reds(cloud):
    cloud.save("b.pcd")
    return PointCloud.decode_rgb(PointCloud.from_path("b.pcd").pc_data["rgb"])[:, 0].tolist()


beside = reds(PointCloud.from_xyzrgbl_points(cloud.numpy()))
alone = reds(PointCloud.from_xyzrgb_points(cloud.numpy(("x", "y", "z", "rgb"))))
print(version("pypcd4"), f"reds {red} beside labels: {beside}, alone: {alone}")
assert alone == red and beside == [100, 194, 254, 200]
EOF
