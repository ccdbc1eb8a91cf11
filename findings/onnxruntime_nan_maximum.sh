#!/bin/sh
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: numpy, as PyTorch, gives NaN for the maximum of numbers with a NaN, and its place
# for argmax. onnxruntime passes it over unless it stands first, so that a head that gives NaN names a class once it is exported.
# A MaxPool of nothing but NaN gives the smallest float. Relu, Clip and Max of two tensors keep NaN.
#
# Seen:
#   1.32.0 of 1, nan, 3: ArgMax 2 (1), ReduceMax 3.0 (nan)
#   1.32.0 of nan, 1, 3: ArgMax 0 (0), ReduceMax nan (nan)
#   1.32.0 MaxPool of three nan: -3.4028234663852886e+38
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
from onnx import TensorProto, helper


def run(operator, numbers, kind=TensorProto.FLOAT, **settings):
    x = np.array(numbers, np.float32)
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
        helper.make_tensor_value_info("y", kind, None),
    ]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **settings)], "one", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0].ravel()[0].item()


seen = []
for row in [1, np.nan, 3], [np.nan, 1, 3]:
    place, most = run("ArgMax", [row], TensorProto.INT64, axis=1), run("ReduceMax", [row], axes=[1])
    right = f"ArgMax {place} ({np.argmax(row)}), ReduceMax {most} ({np.max(row)})"
    print(onnxruntime.__version__, f"of {', '.join(map(str, row))}:", right)
    seen += [place, most]
pooled = run("MaxPool", [[[np.nan] * 3]], kernel_shape=[3])
print(onnxruntime.__version__, f"MaxPool of three nan: {pooled}")
assert seen[:3] == [2, 3, 0] and np.isnan(seen[3]) and pooled == np.finfo(np.float32).min
assert np.isnan(run("Relu", [[np.nan, 1]]))
EOF
