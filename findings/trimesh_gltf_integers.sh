#!/bin/sh
# trimesh 5.2.0, numpy 2.4.6: numbers of a glTF file that are kept as integers and stated to be parts of one (`normalized`), as
# files made small have them, are read as the integers: normals have a length of 127, places are 65535 times as far apart, and of
# colors in 16 bits the low byte is left, so that a half is 0.
#
# Seen:
#   5.2.0 a normal of 1 is 127.0, a side of 1 is 65535.0, a color of 0.5 is 0 of 255
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile trimesh==5.2.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import base64
import io
import json

import numpy as np
import trimesh

corner = np.zeros((3, 4), "<u2")
corner[1, 0] = corner[2, 1] = 65535
arrays = {
    "corners": np.arange(3, dtype="<u2"),
    "POSITION": corner,
    "NORMAL": np.array([[0, 0, 127, 0]] * 3, "i1"),
    "COLOR_0": np.array([[32768, 65535, 0, 65535]] * 3, "<u2"),
}
views, accessors, data = [], [], b""
for name, array in arrays.items():
    views.append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
    accessors.append({"bufferView": len(accessors), "componentType": 5120 if name == "NORMAL" else 5123, "count": 3})
    if name.isupper():
        views[-1]["byteStride"] = array.strides[0]
        accessors[-1] |= {"normalized": True, "type": "VEC4" if name == "COLOR_0" else "VEC3"}
    else:
        accessors[-1]["type"] = "SCALAR"
    data += array.tobytes() + bytes(-array.nbytes % 4)
accessors[1] |= {"min": [0, 0, 0], "max": [65535, 65535, 0]}
tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
tree["extensionsUsed"] = tree["extensionsRequired"] = ["KHR_mesh_quantization"]
tree["meshes"] = [{"primitives": [{"indices": 0, "attributes": {"POSITION": 1, "NORMAL": 2, "COLOR_0": 3}}]}]
uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
tree |= {"bufferViews": views, "accessors": accessors, "buffers": [{"byteLength": len(data), "uri": uri}]}
scene = trimesh.load(io.BytesIO(json.dumps(tree).encode()), file_type="gltf", process=False)
mesh = next(iter(scene.geometry.values()))
normal, side = float(np.linalg.norm(mesh.vertex_normals[0])), float(mesh.vertices.max())
half = int(mesh.visual.vertex_colors[0, 0])
print(trimesh.__version__, f"a normal of 1 is {normal}, a side of 1 is {side}, a color of 0.5 is {half} of 255")
assert (normal, side, half) == (127, 65535, 0)
EOF
