"""A larger model that begins with what a smaller one computes: wider, deeper, with more heads and hidden units.

States of the smaller model become states of the larger one by a map A with orthonormal columns, so that norms see the
same numbers: what is added to states is multiplied by A, what reads them by its transpose. A is the map that best takes
the fixed codes of positions to those of the greater width (orthogonal Procrustes, Schoenemann 1966); what is left of
their difference is made up for where positions are learned, and on average by the embeddings of streams. New directions
are read by random weights and written by none, and new heads, hidden units and blocks write nothing, until they have
learned (after Net2Net, Chen, Goodfellow and Shlens 2016, arXiv 1511.05641).

Shapes: d and D the smaller and the greater width, N rows, P positions.
"""

from __future__ import annotations

import math
from typing import cast

import attrs
import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError
from anymodal.model import ModelConfig, Transformer
from anymodal.model.positions import PositionTable

MAY_GROW = ("dim", "heads", "encoder_depth", "decoder_depth", "hidden")
READERS = {
    "norm1": ("attn.qkv", "self_attn.qkv"),
    "query_norm": ("cross_attn.q",),
    "context_norm": ("cross_attn.kv",),
    "norm2": ("mlp.fc1", "mlp.fc3"),
}  # layers of a block, by the norm that they read
PARTS = {"attn.qkv": 3, "self_attn.qkv": 3, "cross_attn.kv": 2}  # of which the matrices of one layer are made
WRITERS = ("attn.proj", "self_attn.proj", "cross_attn.proj", "mlp.fc2")  # layers that add to the states
SMALLEST = 1e-6  # weight of a norm, by which its bias is divided


def check_growth(small: ModelConfig, large: ModelConfig, source: str) -> None:
    """Raise ConfigError unless a model of the shape `large` can begin with what one of the shape `small` computes."""
    for name in MAY_GROW:
        have, want = getattr(small, name), getattr(large, name)
        if want < have:
            key = "mlp_ratio" if name == "hidden" else name
            raise ConfigError(
                f"a model grows and does not shrink: {name} of {source} is {have}, and model.{key} makes it {want}"
            )
    width = small.dim // small.heads
    if large.dim != width * large.heads:
        heads = max(large.dim // width, small.heads)
        raise ConfigError(
            f"heads stay as wide as they are when a model grows: those of {source} have {width} numbers, and a dim of"
            f" {large.dim} with {large.heads} heads would make it {large.dim / large.heads:g}; set model.heads to"
            f" {heads} and model.dim to {heads * width}"
        )


@torch.no_grad()
def grown(model: Transformer, config: ModelConfig) -> Transformer:
    """A larger model over the same layout.

    Its outputs are those of `model`, but for what differs in the codes of positions that are not learned. Embeddings of
    streams are tied where those of `model` are, whatever `config` says.

    Args:
        model: the smaller one, on the CPU; it stays as it is.
        config: the larger shape, which `check_growth` takes.
    """
    larger = Transformer(attrs.evolve(config, tied_streams=model.config.tied_streams), model.layout)
    if config.dim == model.config.dim:
        turn: Turn = SameWidth()
    else:
        turn = Widening(model.input_positions.fixed, larger.input_positions.fixed)
    for name in ("input_table", "query_table", "input_streams", "target_streams", "registers"):
        if (rows := getattr(model, name)) is not None:
            getattr(larger, name).copy_(turn.written(rows))
    larger.output_table.copy_(turn.read(model.output_table, model.decoder_norm, larger.output_table))
    _grow_places(model, larger, turn)
    for ours, theirs in zip(larger.projections.values(), model.projections.values(), strict=True):
        _grow_writer(cast("nn.Linear", theirs), cast("nn.Linear", ours), turn)
    written = turn.written(model.context_proj.weight.T).T
    larger.context_proj.weight.copy_(turn.read(written, model.encoder_norm, larger.context_proj.weight))
    larger.context_proj.bias.copy_(turn.written(model.context_proj.bias))
    for stack in ("encoder", "decoder"):
        _grow_stack(getattr(model, stack), getattr(larger, stack), turn)
        turn.copy_norm(getattr(model, f"{stack}_norm"), getattr(larger, f"{stack}_norm"))
    return larger


class Turn:
    """How states of the smaller model are those of the larger one."""

    def written(self, rows: Tensor) -> Tensor:
        """Vectors (..., d) that are added to states, as (..., D)."""
        raise NotImplementedError

    def read(self, rows_Nd: Tensor, norm: nn.LayerNorm, fresh_ND: Tensor) -> Tensor:
        """Weights (N, d) of what a norm gives as (N, D) of what `copy_norm` makes of it; `fresh_ND` are random ones."""
        raise NotImplementedError

    def copy_norm(self, small: nn.LayerNorm, large: nn.LayerNorm) -> None:
        """Make a norm of the larger model what its layers, by `read`, expect."""
        raise NotImplementedError


class SameWidth(Turn):
    """States as they are."""

    def written(self, rows: Tensor) -> Tensor:
        return rows

    def read(self, rows_Nd: Tensor, norm: nn.LayerNorm, fresh_ND: Tensor) -> Tensor:
        return rows_Nd

    def copy_norm(self, small: nn.LayerNorm, large: nn.LayerNorm) -> None:
        large.load_state_dict(small.state_dict())


class Widening(Turn):
    """States by the map A; weights of norms go into the layers that read them, as a diagonal does not turn."""

    def __init__(self, codes_Pd: Tensor, codes_PD: Tensor) -> None:
        narrow, wide = codes_Pd.shape[1], codes_PD.shape[1]
        inner, outer = _centered_basis(narrow), _centered_basis(wide)
        left, _, right = torch.linalg.svd(outer.T @ codes_PD.double().T @ codes_Pd.double() @ inner)
        self.scale = math.sqrt(wide / narrow)
        self.map_Dd = outer @ left[:, : narrow - 1] @ right @ inner.T
        self.new_DK = outer @ left[:, narrow - 1 :]  # directions in which no state is yet
        # Norms take the mean away, but their biases may have one.
        self.with_mean_Dd = self.map_Dd + 1 / math.sqrt(wide * narrow)

    def written(self, rows: Tensor) -> Tensor:
        return self.scale * (rows.double() @ self.map_Dd.T)

    def read(self, rows_Nd: Tensor, norm: nn.LayerNorm, fresh_ND: Tensor) -> Tensor:
        kept = (rows_Nd.double() * _weight(norm)) @ self.with_mean_Dd.T / self.scale
        return kept + fresh_ND.double() @ self.new_DK @ self.new_DK.T

    def copy_norm(self, small: nn.LayerNorm, large: nn.LayerNorm) -> None:
        nn.init.ones_(large.weight)
        if small.bias is not None:
            large.bias.copy_(self.scale * (self.with_mean_Dd @ (small.bias.double() / _weight(small))))


def _weight(norm: nn.LayerNorm) -> Tensor:
    weight = norm.weight.double()
    return torch.where(weight.abs() < SMALLEST, SMALLEST, weight)


def _centered_basis(width: int) -> Tensor:
    """An orthonormal basis (width, width - 1) of the vectors of mean zero, which is all that norms see."""
    columns = torch.eye(width, dtype=torch.float64)
    columns[:, 0] = 1
    return torch.linalg.qr(columns)[0][:, 1:]


def _grow_places(small: Transformer, large: Transformer, turn: Turn) -> None:
    """Positions and streams: what codes of the greater width lack is added to what is learned of each place."""
    layout = small.layout
    off_PD = turn.written(small.input_positions.fixed) - large.input_positions.fixed
    for side in ("input", "target"):
        ours: PositionTable = getattr(large, f"{side}_positions")
        learned = ours.trained_row > 0
        if ours.trained is not None:
            rows = ours.trained_row[learned] - 1
            theirs = turn.written(getattr(small, f"{side}_positions").trained)
            ours.trained[rows] = (theirs[rows] + off_PD[learned]).to(ours.trained.dtype)
        embeddings = getattr(large, f"{side}_streams")
        for name, number in layout.index.items() if embeddings is not None else ():
            places = layout.positions[name].rows
            if not learned[places].any():
                embeddings[number] += off_PD[places].mean(0)


def _grow_stack(small: nn.ModuleList, large: nn.ModuleList, turn: Turn) -> None:
    """Blocks of which those that are added are as the one before, but add nothing to the states."""
    sources = [number * len(small) // len(large) for number in range(len(large))]
    for number, (source, block) in enumerate(zip(sources, large, strict=True)):
        _grow_block(small[source], block, turn)
        if number and sources[number - 1] == source:
            for name, weight in block.named_parameters():
                if name.rpartition(".")[0] in WRITERS:
                    nn.init.zeros_(weight)


def _grow_block(small: nn.Module, large: nn.Module, turn: Turn) -> None:
    theirs, ours = dict(small.named_modules()), dict(large.named_modules())
    for name, layers in READERS.items():
        for layer in layers if name in theirs else ():
            if layer in theirs:
                _grow_reader(theirs[layer], ours[layer], theirs[name], turn, PARTS.get(layer, 1))
        if name in theirs:
            turn.copy_norm(theirs[name], ours[name])
    for name, module in theirs.items():
        if name in WRITERS:
            _grow_writer(module, ours[name], turn)
        elif name.endswith(("q_norm", "k_norm")):  # of heads, which stay as wide as they are
            ours[name].load_state_dict(module.state_dict())


def _grow_reader(small: nn.Linear, large: nn.Linear, norm: nn.LayerNorm, turn: Turn, parts: int) -> None:
    """The rows of new heads and hidden units stay random, their biases are zero."""
    for theirs, ours in zip(small.weight.chunk(parts), large.weight.chunk(parts), strict=True):
        ours[: len(theirs)] = turn.read(theirs, norm, ours[: len(theirs)]).to(ours.dtype)
    if small.bias is not None:
        for theirs, ours in zip(small.bias.chunk(parts), large.bias.chunk(parts), strict=True):
            ours[: len(theirs)], ours[len(theirs) :] = theirs, 0


def _grow_writer(small: nn.Linear, large: nn.Linear, turn: Turn) -> None:
    """What new heads and hidden units give is not written."""
    known = small.in_features
    large.weight[:, :known] = turn.written(small.weight.T).T.to(large.weight.dtype)
    large.weight[:, known:] = 0
    if small.bias is not None:
        large.bias.copy_(turn.written(small.bias))
