"""What the tables of a model cost a step of training: dense AdamW against AdamW for the rows that a step looks up."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs
import numpy as np
import torch

from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.optim import AdamWConfig
from anymodal.training.sparse_adamw import clip_gradients
from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work

FLOAT = 4  # bytes
ADAMW = 7  # numbers that AdamW moves for a weight: reads it, its gradient and two moments, writes all but the gradient
SEEN = 4  # and others of a dense gradient: zeros, length, and clipping, which reads and writes


@BENCHMARKS.register("tables")
@attrs.frozen
class Tables(Timed):
    """A step of a model whose tables are the bulk; the floor is what its update moves in memory."""

    target: ClassVar[str] = "rows cost what a step looks up"
    streams: int = 21
    ids: int = 8192
    dim: int = 256
    samples: int = 16
    tokens: int = 126

    def cases(self, quick: bool) -> list[Case]:
        return [] if quick else [{"tables": tables} for tables in ("dense", "rows")]

    def prepare(self, case: Case) -> Work:
        plan = layout(self.streams, self.ids)
        torch.manual_seed(0)
        model = Transformer(ModelConfig(dim=self.dim, encoder_depth=1, decoder_depth=1, heads=4), plan)
        optimizers = AdamWConfig(tables=case["tables"]).build(model, 1e-3)
        packed = batch(plan, self.samples, self.tokens, self.streams, 0)

        def step() -> None:
            torch.stack(list(model(packed).values())).mean().backward()
            clip_gradients(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        rows = len(model.input_table) if case["tables"] == "dense" else len(packed.inputs.ids.unique())
        each = ADAMW + SEEN if case["tables"] == "dense" else ADAMW
        return Work(step, partial(floor, rows * self.dim, each), items=self.samples, unit="sample")


def floor(numbers: int, each: int) -> list[Part]:
    """Moving every number of the tables that changes."""
    table = torch.zeros(numbers)
    return [Part("update", each, table.sum, 0, numbers * FLOAT)]


def layout(streams: int, ids: int) -> Layout:
    return Layout([Stream(f"s{k}", f"s{k}", TokenSpace.grid(ids, 14, 14)) for k in range(streams)])


def batch(layout: Layout, samples: int, tokens: int, targets: int, seed: int) -> Packed:
    """Random ids; `tokens` of all streams as inputs, and `targets` streams with as many together to predict."""
    rng = np.random.default_rng(seed)
    packed = []
    for _ in range(samples):
        packer = Packer(layout)
        wanted = [layout.streams[k] for k in rng.permutation(len(layout.streams))[:targets]]
        for add, streams in ((packer.add_input, layout.streams), (packer.add_grid_target, wanted)):
            for stream in streams:
                count = max(1, tokens // len(streams))
                add(stream.name, rng.integers(0, stream.space.size, count), rng.permutation(196)[:count])
        packed.append(packer.pack())
    return collate(packed, layout)
