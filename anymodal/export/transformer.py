"""The graphs of a Transformer; examples are drawn so that all axes that may vary differ.

Shapes: as in `modules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from anymodal.export.graphs import Draft, Outputs, product
from anymodal.export.modules import Decode, Encode, ReadContext
from anymodal.model.transformer import Transformer
from anymodal.spaces import DenseSpace

Examples = dict[str, Tensor]


def transformer_drafts(model: Transformer) -> Iterator[tuple[str, Draft]]:
    """The graphs by name: encode, read, decode, and heads/KEY of each vocabulary."""
    yield "encode", _encode(model)
    yield "read", _read(model)
    yield "decode", _decode(model)
    for block in model.layout.outputs.blocks:
        yield f"heads/{block.key}", _head(model, model.output_table[block.rows])


class _Drawn:
    """Random inputs of a model, always the same."""

    def __init__(self, model: Transformer, seed: int) -> None:
        self.model = model
        self.generator = torch.Generator().manual_seed(seed)

    def ids(self, below: int, *shape: int) -> Tensor:
        return torch.randint(max(below, 1), shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def attended(self, batch: int, length: int) -> Tensor:
        """Of each sample another number of tokens, and all of the first."""
        return torch.arange(length)[None] < (length - torch.arange(batch) % max(length, 1))[:, None]


def _encode(model: Transformer) -> Draft:
    layout, drawn = model.layout, _Drawn(model, 0)
    dense = {s.name: s.space.width for s in layout.streams if isinstance(s.space, DenseSpace)}

    def examples(batch: int, length: int, rows: int) -> Examples:
        found = {
            "ids": drawn.ids(layout.inputs.size, batch, length),
            "positions": drawn.ids(layout.positions.size, batch, length),
            "streams": drawn.ids(len(layout.streams), batch, length).where(
                drawn.attended(batch, length), torch.tensor(-1)
            ),
        }
        for k, (name, width) in enumerate(dense.items()):
            count = rows + k if rows else 0
            found[f"{name}.rows"] = drawn.normal(batch, count, width)
            # No slot twice: which of two rows counts is not said. Beyond the tokens is padding.
            found[f"{name}.slots"] = torch.arange(count).clamp_max(length).expand(batch, count).contiguous()
        return found

    axes = {name: {0: "batch", 1: "tokens"} for name in ("ids", "positions", "streams")}
    for name in dense:
        rows = f"{name.replace('.', '_')}_rows"
        axes |= {f"{name}.rows": {0: "batch", 1: rows}, f"{name}.slots": {0: "batch", 1: rows}}
    tokens = f"tokens + {model.config.registers}" if model.config.registers else "tokens"
    outputs: Outputs = {
        "states": ["batch", tokens, model.config.dim],
        "context": ["batch", tokens, model.config.dim],
        "attended": ["batch", tokens],
    }
    first = 7 + len(dense)
    return Draft(Encode(model), axes, outputs, [examples(2, first, 3), examples(1, 1, 0), examples(3, 4, 2)])


def _read(model: Transformer) -> Draft:
    drawn, width = _Drawn(model, 1), model.config.dim
    examples = [
        {"context": drawn.normal(batch, length, width), "attended": drawn.attended(batch, length)}
        for batch, length in ((2, 5), (1, 1), (3, 8))
    ]
    axes = {name: {0: "batch", 1: "tokens"} for name in examples[0]}
    shape: list[int | str] = [model.config.decoder_depth, "batch", model.config.heads, "tokens", _head_width(model)]
    return Draft(ReadContext(model), axes, {"context_k": shape, "context_v": shape}, examples)


def _decode(model: Transformer) -> Draft:
    layout, drawn, config = model.layout, _Drawn(model, 2), model.config
    depth, heads, width = config.decoder_depth, config.heads, _head_width(model)

    def examples(batch: int, targets: int, before: int, tokens: int) -> Examples:
        allowed = torch.ones(batch, targets, before + targets, dtype=torch.bool)
        allowed[:, :, : before // 2] = False
        return {
            "ids": drawn.ids(layout.queries.size, batch, targets),
            "positions": drawn.ids(layout.positions.size, batch, targets),
            "streams": drawn.ids(len(layout.streams), batch, targets),
            "allowed": allowed,
            "past_k": drawn.normal(depth, batch, heads, before, width),
            "past_v": drawn.normal(depth, batch, heads, before, width),
            "context_k": drawn.normal(depth, batch, heads, tokens, width),
            "context_v": drawn.normal(depth, batch, heads, tokens, width),
            "context_attended": drawn.attended(batch, tokens),
        }

    sizes = [(2, 3, 4, 5), (1, 7, 0, 3), (3, 1, 16, 1)]
    axes: Mapping[str, Mapping[int, str]] = {
        **{name: {0: "batch", 1: "targets"} for name in ("ids", "positions", "streams")},
        "allowed": {0: "batch", 1: "targets", 2: "all_targets"},
        **{name: {1: "batch", 3: "before"} for name in ("past_k", "past_v")},
        **{name: {1: "batch", 3: "tokens"} for name in ("context_k", "context_v")},
        "context_attended": {0: "batch", 1: "tokens"},
    }
    new: list[int | str] = [depth, "batch", heads, "targets", width]
    outputs: Outputs = {"states": ["batch", "targets", config.dim], "new_k": new, "new_v": new}
    return Draft(Decode(model), axes, outputs, [examples(*each) for each in sizes])


def _head(model: Transformer, table: Tensor) -> Draft:
    drawn = _Drawn(model, 3)
    examples = [{"states": drawn.normal(*shape, model.config.dim)} for shape in ((2, 3), (1, 1), (3, 5))]
    return product(table.detach().T.contiguous(), examples)


def _head_width(model: Transformer) -> int:
    return model.config.dim // model.config.heads
