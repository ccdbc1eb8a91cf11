#!/bin/sh
# torch 2.14.1, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0: `scatter_reduce` by "mean", as features of points or pixels
# are pooled by instance, is exported without a word as an assignment, in which the last number of a group is left. Rows of
# attention that may read nothing are 0 in PyTorch; in the graph they are the mean of what they may not read, of a mask of truth
# values, and NaN of a mask that is added.
#
# Seen:
#   2.14.1+cu130 means of 1, 2 and of 6: [2.0, 6.0, 0.0] in the graph, [1.5, 6.0, 0.0] in PyTorch
#   2.14.1+cu130 a row that may read nothing: [2.0, 2.0, 2.0] in the graph, [0.0, 0.0, 0.0] in PyTorch
#   2.14.1+cu130 such a row, mask of -inf: [nan, nan, nan] in the graph, [0.0, 0.0, 0.0] in PyTorch
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.14.1 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import logging
import math

import onnxruntime
import torch

logging.disable(logging.WARNING)


def both(function, *inputs):
    module = torch.nn.Module()
    module.forward = function
    program = torch.onnx.export(module.eval(), inputs, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    given = {port.name: each.numpy() for port, each in zip(session.get_inputs(), inputs, strict=True)}
    found = session.run(None, given)[0], function(*inputs).numpy()
    return [[round(number, 2) for number in each.ravel()[-3:].tolist()] for each in found]


def pooled(x):
    return torch.zeros(3).scatter_reduce(0, torch.tensor([0, 0, 1]), x, "mean", include_self=False)


def attention(x, mask):
    return torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)


rows, allowed = torch.tensor([[[[1.0, 1, 1], [3, 3, 3]]]]), torch.tensor([[True, True], [False, False]])
seen = {
    "means of 1, 2 and of 6": both(pooled, torch.tensor([1.0, 2, 6])),
    "a row that may read nothing": both(attention, rows, allowed),
    "such a row, mask of -inf": both(attention, rows, torch.zeros(2, 2).masked_fill(~allowed, -torch.inf)),
}
for name, (graph, right) in seen.items():
    print(torch.__version__, f"{name}: {graph} in the graph, {right} in PyTorch")
graphs = [graph for graph, _ in seen.values()]
assert graphs[0] == [2, 6, 0] and graphs[1] == [2, 2, 2] and all(map(math.isnan, graphs[2]))
assert [right for _, right in seen.values()] == [[1.5, 6, 0], [0, 0, 0], [0, 0, 0]]
EOF
