#!/bin/sh
# OpenEXR 3.5.3, numpy 2.4.6: whether DWAA keeps numbers as they are goes by how the name of their channel ends: what ends in R,
# G, B or Y is taken for a color or its brightness and loses, all else is whole. Of normals, positions and flow in X, Y and Z only
# the second of the three loses, and a depth map loses in `Y` where it is whole in `Z`. B44 loses of float16 alone.
#
# Seen:
#   3.5.3 DWAA normal.X 0.0, normal.Y 0.0135, normal.Z 0.0, flow.u 0.0, flow.v 0.0, Y 0.0135, Z 0.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile OpenEXR==3.5.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy as np
import OpenEXR

normal = np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
planes = [np.ascontiguousarray(normal[..., number]) for number in range(3)]
names = {"normal.X": 0, "normal.Y": 1, "normal.Z": 2, "flow.u": 0, "flow.v": 1, "Y": 1, "Z": 1}
header = {"compression": OpenEXR.DWAA_COMPRESSION, "type": OpenEXR.scanlineimage}
with OpenEXR.File(header, {name: planes[number] for name, number in names.items()}) as file:
    file.write("a.exr")
with OpenEXR.File("a.exr", separate_channels=True) as file:
    lost = {name: float(np.abs(file.channels()[name].pixels - planes[number]).max()) for name, number in names.items()}
print(version("OpenEXR"), "DWAA", ", ".join(f"{name} {round(error, 4)}" for name, error in lost.items()))
assert {name for name, error in lost.items() if error} == {"normal.Y", "Y"} and min(lost["normal.Y"], lost["Y"]) > 0.01
EOF
