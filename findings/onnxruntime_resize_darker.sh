#!/bin/sh
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: a `Resize` of a picture of 8 bits cuts off what is behind the point, of weights
# that add up to a bit less than 1: a picture that is 100 all over is 99 in places once it is made smaller. With `antialias=1`
# it stays 100.
#
# Seen:
#   1.32.0 of a picture that is 100 all over: [99, 100]
#   1.32.0 levels that become darker: 197 of 256, with antialias 0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def resized(level, **settings):
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in "xy"]
    ends[0] = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 1, 8, 8])
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="linear", **settings)
    size = numpy_helper.from_array(np.array([1, 1, 5, 5]), "size")
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": np.full((1, 1, 8, 8), level, np.uint8)})[0]


darker = [level for level in range(256) if resized(level).min() < level]
smooth = [level for level in range(256) if (resized(level, antialias=1) != level).any()]
print(onnxruntime.__version__, f"of a picture that is 100 all over: {np.unique(resized(100)).tolist()}")
print(onnxruntime.__version__, f"levels that become darker: {len(darker)} of 256, with antialias {len(smooth)}")
assert np.unique(resized(100)).tolist() == [99, 100] and len(darker) > 100 and not smooth
EOF
