"""A model's weights by stream: joint tables are split so that a file can be read for any subset of streams.

Names: `inputs.KEY`, `queries.KEY`, `outputs.KEY` for blocks of the tables (KEY: a stream or a shared vocabulary),
`query` for the learned query of grids, `input_streams.STREAM`, `target_streams.STREAM`, `projections.STREAM.weight`,
`input_positions.STREAM` and `target_positions.STREAM` for trained positions, and the Transformer's own names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from anymodal.checkpoints.weights import Rows, check_depth, checked, fill
from anymodal.errors import AnymodalError, CheckpointError, one_line
from anymodal.model.config import ModelConfig
from anymodal.model.positions import streams_with_learned
from anymodal.model.transformer import Transformer
from anymodal.nn.init import empty_weights
from anymodal.tokens import Layout

_JOINT = ("input_table", "query_table", "output_table", "input_streams", "target_streams")
_POSITIONS = ("input_positions", "target_positions")
OF_STREAMS = ("inputs", "queries", "outputs", "projections", "input_streams", "target_streams", *_POSITIONS)


class _Part(NamedTuple):
    name: str
    tensor: Tensor


def parts(model: Transformer) -> Iterator[_Part]:
    """Every weight under its name in a file, as views: writing to a part writes to the model."""
    layout = model.layout
    for name, table, parameter in (
        ("inputs", layout.inputs, model.input_table),
        ("queries", layout.queries, model.query_table),
        ("outputs", layout.outputs, model.output_table),
    ):
        for block in table.blocks:
            yield _Part(f"{name}.{block.key}", parameter.data[block.rows])
    yield _Part("query", model.query_table.data[0])
    for side in ("input_streams", "target_streams"):
        parameter = getattr(model, side)
        for k, stream in enumerate(layout.streams):
            shared = side == "input_streams" and model.target_streams is None
            if parameter is not None and (stream.target if side == "target_streams" else stream.input or shared):
                yield _Part(f"{side}.{stream.name}", parameter.data[k])
    for side in _POSITIONS:
        start = 0
        for stream in streams_with_learned(layout, targets=side == "target_positions"):
            size = layout.positions[stream.name].size
            yield _Part(f"{side}.{stream.name}", getattr(model, side).trained.data[start : start + size])
            start += size
    for name, parameter in model.named_parameters():
        if name not in _JOINT and not name.startswith(_POSITIONS):
            yield _Part(name.replace("/", "."), parameter.data)


def split_state(model: Transformer, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The weights by name, contiguous copies in `dtype` (as they are if None)."""
    return {part.name: part.tensor.to(dtype or part.tensor.dtype).contiguous().clone() for part in parts(model)}


def fill_state(model: Transformer, get: Callable[[str], Rows | None], source: str) -> None:
    """Copy weights into the model; `get` gives a tensor by name or None.

    Raises CheckpointError that names the first weight that is missing or misshapen.
    """
    fill(parts(model), get, source)


def transformer_on_meta(config: ModelConfig, layout: Layout) -> Transformer:
    """A model of which only the codes of positions are there; its weights are shapes, on the meta device."""
    with torch.device("meta"):
        return Transformer(config, layout)


def outline(config: ModelConfig, layout: Layout, source: str, tensors: int) -> Transformer:
    """As `transformer_on_meta`, for numbers from a file beside one of so many `tensors`.

    Raises CheckpointError for those of no possible model.
    """
    check_depth(config.encoder_depth + config.decoder_depth, tensors, source)
    try:
        return transformer_on_meta(config, layout)
    except (AnymodalError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{source} describes no possible model: {one_line(error, 300)}") from None


def check_state(model: Transformer, get: Callable[[str], Rows | None], source: str) -> None:
    """Compare a model on the meta device with the headers of files; raises as `fill_state` does."""
    for part in parts(model):
        checked(part.name, part.tensor, get, source)


def check_explained(model: Transformer, names: Iterable[str], source: str) -> None:
    """Raise CheckpointError if a file has tensors of the encoder or the decoder that the model does not have.

    Those of streams may be more, as a model can be loaded for some of them.
    """
    mine = {part.name for part in parts(model)}
    for name in names:
        if name not in mine and name.partition(".")[0] not in OF_STREAMS:
            raise CheckpointError(f"{source} has a tensor {name!r} that its config does not explain")


def allocated(model: Transformer, dtype: torch.dtype = torch.float32) -> Transformer:
    """A model from the meta device in evaluation mode, its weights still to be filled in.

    What stands for no stream is zero.
    """
    model = empty_weights(model, dtype).to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in ("input_streams", "target_streams") or "positions" in name:
                parameter.zero_()
        model.input_table[0].zero_()
    return model.eval().requires_grad_(False)
