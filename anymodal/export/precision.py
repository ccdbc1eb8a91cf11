"""Weights of a graph in 16 or 8 bits; it computes in float32 whatever they are stored as.

So a sample's result does not depend on its batch, as it does where activations are rounded by their range (dynamic
quantization), and every runtime has what is needed: a cast and a product, which are folded when a graph is opened.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from anymodal.config.tables import Table

SMALL = 1024  # numbers of a tensor that is not worth it


@attrs.frozen
class Precision:
    """How weights are stored: in `bits`, and how far outputs may be from PyTorch's (`tolerance`, see `Graph.error`).

    `ids` is the share of ids of a tokenizer that may differ, those of random pictures, which are the hardest.
    """

    bits: int
    tolerance: float
    ids: float


PRECISIONS: Table[Precision] = Table(
    "precision",
    {"float32": Precision(32, 1e-4, 0.01), "float16": Precision(16, 5e-3, 0.05), "int8": Precision(8, 0.05, 0.25)},
)


def stored(model: Any, precision: Precision, keep: tuple[str, ...] = ("tables", "quantize")) -> Any:
    """The graph with weights in a precision; those whose name holds a word of `keep`, as codes, stay as they are.

    In 8 bits every row or every column of a matrix has a scale of its own, whichever loses less.
    """
    from onnx import ModelProto, numpy_helper

    if precision.bits == 32:
        return model
    found = ModelProto()
    found.CopyFrom(model)
    graph, nodes = found.graph, []
    for tensor in list(graph.initializer):
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.ndim < 2 or weights.size < SMALL:
            continue
        if any(word in tensor.name for word in keep):
            continue
        graph.initializer.remove(tensor)
        made, constants = _halves(tensor.name, weights) if precision.bits == 16 else _bytes(tensor.name, weights)
        nodes += made
        graph.initializer.extend(constants)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return found


def _halves(name: str, weights: np.ndarray) -> tuple[list[Any], list[Any]]:
    """The nodes that make float32 weights of float16 ones, and those."""
    from onnx import TensorProto, helper, numpy_helper

    largest = np.finfo(np.float16).max
    small = numpy_helper.from_array(np.clip(weights, -largest, largest).astype(np.float16), f"{name}.half")
    return [helper.make_node("Cast", [small.name], [name], to=TensorProto.FLOAT)], [small]


def _bytes(name: str, weights: np.ndarray) -> tuple[list[Any], list[Any]]:
    """The nodes that make float32 weights of integers and scales, and those."""
    from onnx import TensorProto, helper, numpy_helper

    integers, scales = min((_rounded(weights, axis) for axis in (0, -1)), key=lambda found: _lost(weights, *found))
    constants = [numpy_helper.from_array(integers, f"{name}.bytes"), numpy_helper.from_array(scales, f"{name}.scale")]
    nodes = [
        helper.make_node("Cast", [f"{name}.bytes"], [f"{name}.whole"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
    ]
    return nodes, constants


def _rounded(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers -127..127 and float32 scales, one for each place along an axis."""
    others = tuple(k for k in range(weights.ndim) if k != axis % weights.ndim)
    scales = np.maximum(np.abs(weights).max(others, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.rint(weights / scales).astype(np.int8), scales


def _lost(weights: np.ndarray, integers: np.ndarray, scales: np.ndarray) -> float:
    return float(np.square(weights - integers * scales).sum())
