#!/bin/sh
# openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6: on a CPU whole numbers of 64 bits are computed in 32, although inputs and outputs say int64:
# a graph that gives back what it is given makes 0 of 2**40 and a negative number of 2**31. Doubles are computed as floats. And
# `save_model` writes weights in half precision unless it is told not to, so that 70000 is 65504, 2049 is 2048 and 1e-8 is 0.
#
# Seen:
#   2026.4.1 int64: [5, 2147483648, 1099511627776] -> int64 [5, -2147483648, 0]; doubles: 16777216.0 + 1 is 16777216.0
#   2026.4.1 saved: [70000.0, 2049.0, 1e-08] -> [65504.0, 2048.0, 0.0]; with compress_to_fp16=False [70000.0, 2049.0, 1e-08]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import openvino
from onnx import helper, numpy_helper

core = openvino.Core()


def graph(numbers, added=None):
    kind = helper.np_dtype_to_tensor_dtype(numbers.dtype)
    ends = [helper.make_tensor_value_info(name, kind, numbers.shape) for name in "xy"]
    nodes = [helper.make_node("Identity", ["x"], ["y"]) if added is None else helper.make_node("Add", ["x", "w"], ["y"])]
    weights = [] if added is None else [numpy_helper.from_array(added, "w")]
    made = helper.make_graph(nodes, "graph", ends[:1], ends[1:], weights)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return core.read_model(whole.SerializeToString())


def run(model, numbers):
    return core.compile_model(model, "CPU")([numbers])[0]


def saved(**options):
    openvino.save_model(graph(np.zeros(3, np.float32), weights), "model.xml", **options)
    return [float(f"{number:.6g}") for number in run("model.xml", np.zeros(3, np.float32))]


whole, double = np.array([5, 2**31, 2**40]), np.array([2.0**24])
weights = np.array([70000, 2049, 1e-8], np.float32)
found, sums = run(graph(whole), whole), run(graph(double, np.array([1.0])), double)
half, full = saved(), saved(compress_to_fp16=False)
version, listed = openvino.__version__.split("-")[0], [float(f"{number:.6g}") for number in weights]
print(version, f"int64: {whole.tolist()} -> {found.dtype} {found.tolist()}; doubles: {double[0]} + 1 is {sums[0]}")
print(version, f"saved: {listed} -> {half}; with compress_to_fp16=False {full}")
assert found.dtype == np.int64 and found.tolist() == [5, -(2**31), 0] and sums[0] == 2.0**24
assert half == [65504, 2048, 0] and full == listed
EOF
