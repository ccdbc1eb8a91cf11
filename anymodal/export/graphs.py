"""One graph of plain tensors: exported from a module, or made by hand where it is one product."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs
import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError, one_line
from anymodal.sessions.session import EXTRA

NEEDED = ("onnx", "onnxscript", "onnxruntime")
OPSET, IR = 20, 10
Outputs = Mapping[str, Sequence[int | str]]  # the names and sizes of the axes of each
TYPES = {torch.float32: "float32", torch.int64: "int64", torch.bool: "bool"}


def check_installed() -> None:
    """Raise ConfigError where a package is missing that export needs."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f"export needs {' and '.join(missing)}: pip install '{EXTRA}'")


@attrs.frozen(eq=False)
class Draft:
    """What becomes a graph: a module in evaluation mode, with float32 weights on the CPU, and its tensors.

    axes: the names of axes that may vary, by input and number.
    outputs: by output, the names and sizes of all axes.
    examples: inputs by name, in order, with which the graph is compared with the module. In the first, axes that may
        vary are of two or more and of different lengths.
    by_hand: nodes and constants where the graph is made of these instead of exported.
    """

    module: nn.Module
    axes: Mapping[str, Mapping[int, str]]
    outputs: Outputs
    examples: Sequence[Mapping[str, Tensor]]
    by_hand: tuple[Sequence[Any], Mapping[str, Tensor]] | None = None

    @property
    def inputs(self) -> dict[str, Sequence[int | str]]:
        """By input, the names and sizes of all axes."""
        return {
            name: [self.axes.get(name, {}).get(k, size) for k, size in enumerate(each.shape)]
            for name, each in self.examples[0].items()
        }

    def program(self) -> torch.export.ExportedProgram:
        """The module as a program of PyTorch in which axes vary.

        Raises ConfigError where the module does something that no graph can, such as leaving PyTorch.
        """
        dims = {name: torch.export.Dim(name) for each in self.axes.values() for name in each.values()}
        shapes = tuple({k: dims[axis] for k, axis in self.axes.get(name, {}).items()} for name in self.examples[0])
        # Arguments that a module takes as *dense are one tuple to the exporter, and none where there are none.
        given, fixed = tuple(self.examples[0].values()), _fixed(self.module)
        dynamic = shapes if fixed is None or fixed == len(shapes) else (*shapes[:fixed], shapes[fixed:])
        try:
            with _quiet(), torch.no_grad():
                return torch.export.export(self.module, given, dynamic_shapes=dynamic, strict=False)
        except Exception as error:
            raise self._cannot(error) from error

    def build(self) -> Any:
        """The graph, a model of the library onnx. Raises ConfigError as `program`, and for what ONNX does not have."""
        check_installed()
        if self.by_hand is not None:
            return _made(self, *self.by_hand)
        program = self.program()
        try:
            with _quiet():
                found = torch.onnx.export(
                    program,
                    dynamo=True,
                    input_names=list(self.examples[0]),
                    output_names=list(self.outputs),
                    opset_version=OPSET,
                    external_data=False,
                    verbose=False,
                )
            assert found is not None
            return found.model_proto
        except Exception as error:
            raise self._cannot(error) from error

    def _cannot(self, error: BaseException) -> ConfigError:
        reason = one_line(_reason(error), 300)
        return ConfigError(f"{type(self.module).__name__} cannot be an ONNX graph: {reason}")


def _fixed(module: nn.Module) -> int | None:
    """How many arguments a module takes before those of any number, or None where there are no such."""
    code = type(module).forward.__code__
    return code.co_argcount - 1 if code.co_flags & 0x04 else None


def _reason(error: BaseException) -> BaseException:
    """The error that an exporter's own is about."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter tells of itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


class Product(nn.Module):
    """Rows (B, M, D) times a matrix (D, V)."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self.matrix  # type: ignore[operator, no-any-return]


class Lookup(nn.Module):
    """Ids (B, N * G) that cycle through G codebooks -> the sums (B, N, width) of their codes (G, size, width)."""

    def __init__(self, tables: Tensor) -> None:
        super().__init__()
        self.register_buffer("tables", tables)

    def forward(self, ids: Tensor) -> Tensor:
        tables: Tensor = self.tables  # type: ignore[assignment]
        books, size = tables.shape[:2]
        offsets = torch.arange(books) * size
        return tables.flatten(0, 1)[ids.unflatten(1, (-1, books)) + offsets].sum(2)


class MeanCodes(nn.Module):
    """Probabilities (B, N * G, size) -> mean codes (B, N, width) under them, of tables (G, size, width)."""

    def __init__(self, tables: Tensor) -> None:
        super().__init__()
        self.register_buffer("tables", tables)

    def forward(self, probabilities: Tensor) -> Tensor:
        tables: Tensor = self.tables  # type: ignore[assignment]
        books, size, width = tables.shape
        return probabilities.unflatten(1, (-1, books)).flatten(2) @ tables.reshape(books * size, width)


def product(matrix: Tensor, examples: Sequence[Mapping[str, Tensor]]) -> Draft:
    """The graph of `Product` from "states" to "logits"."""
    node = _Node("MatMul", ("states", "matrix"), "logits")
    axes = {"states": {0: "batch", 1: "targets"}}
    outputs: Outputs = {"logits": ["batch", "targets", int(matrix.shape[1])]}
    return Draft(Product(matrix), axes, outputs, examples, ([node], {"matrix": matrix}))


def lookup(tables: Tensor, examples: Sequence[Mapping[str, Tensor]]) -> Draft:
    """The graph of `Lookup` from "ids" to "codes"."""
    books, size, width = tables.shape
    constants = {
        "tables": tables.flatten(0, 1),
        "offsets": torch.arange(books) * size,
        "split": torch.tensor([0, -1, books]),
        "books": torch.tensor([2]),
    }
    nodes = [
        _Node("Reshape", ("ids", "split"), "each"),
        _Node("Add", ("each", "offsets"), "rows"),
        _Node("Gather", ("tables", "rows"), "parts", {"axis": 0}),
        _Node("ReduceSum", ("parts", "books"), "codes", {"keepdims": 0}),
    ]
    axes = {"ids": {0: "batch", 1: "ids"}}
    outputs: Outputs = {"codes": ["batch", "codes", width]}
    return Draft(Lookup(tables), axes, outputs, examples, (nodes, constants))


def mean_codes(tables: Tensor, examples: Sequence[Mapping[str, Tensor]]) -> Draft:
    """The graph of `MeanCodes` from "probabilities" to "codes"."""
    books, size, width = tables.shape
    constants = {"tables": tables.flatten(0, 1), "split": torch.tensor([0, -1, books * size])}
    nodes = [
        _Node("Reshape", ("probabilities", "split"), "rows"),
        _Node("MatMul", ("rows", "tables"), "codes"),
    ]
    axes = {"probabilities": {0: "batch", 1: "ids"}}
    outputs: Outputs = {"codes": ["batch", "codes", width]}
    return Draft(MeanCodes(tables), axes, outputs, examples, (nodes, constants))


class _Node(NamedTuple):
    """One operator of a graph that is made by hand."""

    operator: str
    inputs: Sequence[str]
    output: str
    settings: Mapping[str, Any] = MappingProxyType({})


def _made(draft: Draft, nodes: Sequence[_Node], constants: Mapping[str, Tensor]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    kinds = {torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64}
    given = [
        helper.make_tensor_value_info(name, kinds[draft.examples[0][name].dtype], shape)
        for name, shape in draft.inputs.items()
    ]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in draft.outputs.items()]
    known = [numpy_helper.from_array(value.contiguous().numpy(), name) for name, value in constants.items()]
    operators = [helper.make_node(n.operator, list(n.inputs), [n.output], **n.settings) for n in nodes]
    graph = helper.make_graph(operators, type(draft.module).__name__, given, made, known)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
