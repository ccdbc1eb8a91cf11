#!/bin/sh
# onnxruntime 1.32.0, opencv 5.0.0, numpy 2.4.6, pillow 12.3.0: numpy keeps numbers in the byte order they came in, as those of a
# big-endian TIFF that Pillow opens, or of an .npy file written so. onnxruntime and OpenCV read such an array as if it were
# of the machine's own order, without an error: a depth of 300 is 11265. PyTorch and pyarrow refuse it, and numpy computes with it.
#
# Seen:
#   12.3.0 >u2 [1, 2, 300]
#   5.0.0 resized [256, 512, 11265] png [256, 512, 11265]
#   1.32.0 [256, 512, 11265]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile onnxruntime==1.32.0 onnx==1.23.2 opencv-python-headless==5.0.0.93 pillow==12.3.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from PIL import Image, __version__

file = io.BytesIO()
Image.fromarray(np.array([[1, 2, 300]] * 3, ">u2")).save(file, "TIFF")
depth = np.asarray(Image.open(file))
print(__version__, depth.dtype, depth[0].tolist())
resized = cv2.resize(depth, (3, 3))[0].tolist()
written = cv2.imdecode(cv2.imencode(".png", depth)[1], cv2.IMREAD_UNCHANGED)[0].tolist()
print(cv2.__version__, "resized", resized, "png", written)
ends = [helper.make_tensor_value_info(name, TensorProto.UINT16, [3, 3]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())
same = session.run(None, {"x": depth})[0][0].tolist()
print(onnxruntime.__version__, same)
assert depth.dtype == ">u2" and depth[0].tolist() == [1, 2, 300]
assert resized == written == same == [256, 512, 11265]
EOF
