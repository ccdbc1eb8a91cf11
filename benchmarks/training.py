"""A training step on the 21 published vocabularies: forward, backward, clipping and AdamW."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs
import numpy as np
import torch

from anymodal.model import Transformer
from anymodal.nn.distributed import alone
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.in_backward import StepsInBackward
from anymodal.training.optim import AdamWConfig
from anymodal.training.parallel import lay_out
from anymodal.training.settings import ParallelConfig
from anymodal.training.sparse_adamw import clip_gradients
from benchmarks.harness import parts
from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work
from benchmarks.harness.models import SIZES, published_layout

TOKENS, SAMPLES, TARGETS = 256, 8, 4
BACKWARD = 3  # a product takes part in the forward pass, and in the gradients of both factors


@BENCHMARKS.register("training")
@attrs.frozen
class Training(Timed):
    """8 samples of 256 + 256 tokens, with AdamW for dense tables or for the rows that a step looks up."""

    target: ClassVar[str] = "5 times the original in bfloat16, a third of its memory"

    def cases(self, quick: bool) -> list[Case]:
        rows: Case = {"size": "s", "tables": "rows"}
        dense: Case = {"size": "s", "tables": "dense"}
        small = [{**tables, "moments": "8bit"} for tables in (dense, rows)]
        fast = {**rows, "precision": "bfloat16"}
        least = {**rows, "moments": "8bit", "blocks": "recomputed"}
        least = [least, {**least, "steps": "in backward"}]
        return [rows] if quick else [dense, rows, fast, {**dense, "moments": "bfloat16"}, *small, *least]

    def prepare(self, case: Case) -> Work:
        layout = published_layout()
        torch.manual_seed(0)
        model = Transformer(SIZES[case["size"]], layout)
        parallel = ParallelConfig(checkpoint_activations=case.get("blocks") == "recomputed")
        called = lay_out(model, parallel, alone(torch.device("cpu")))
        kept = {name: how for name, how in case.items() if name in ("tables", "moments")}
        optimizers = AdamWConfig(**kept).build(model, 1e-4)
        batch = packed(layout, SAMPLES)
        within = StepsInBackward(optimizers) if "steps" in case else None

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled="precision" in case):
                loss = torch.stack(list(called(batch).values())).mean()
            if within is not None:
                within.begin(loss, ())
            loss.backward()
            if within is None:
                clip_gradients(model.parameters(), 1.0)
            else:
                within.end()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return Work(step, partial(floor, case, layout), items=SAMPLES, unit="sample")


def packed(layout: Layout, samples: int) -> Packed:
    """Random tokens of grids: inputs of all of them, targets of some."""
    rng, grids = np.random.default_rng(0), [s for s in layout.targets if s.space.shape is not None]
    found = []
    for _ in range(samples):
        packer = Packer(layout)
        for stream, count in zip(grids, np.diff(np.linspace(0, TOKENS, len(grids) + 1).astype(int)), strict=True):
            size = stream.space.size  # type: ignore[union-attr]
            packer.add_input(stream.name, rng.integers(0, size, count), rng.permutation(stream.space.length)[:count])
        for k in rng.permutation(len(grids))[:TARGETS]:
            stream, count = grids[k], TOKENS // TARGETS
            size = stream.space.size  # type: ignore[union-attr]
            packer.add_grid_target(stream.name, rng.integers(0, size, count), rng.permutation(196)[:count])
        found.append(packer.pack())
    return collate(found, layout)


def floor(case: Case, layout: Layout) -> list[Part]:
    """The products forward and backward; and reading and writing weights, gradients and moments once."""
    config = SIZES[case["size"]]
    forward = [
        *parts.encoder(config, SAMPLES, TOKENS),
        *parts.context(config, SAMPLES, TOKENS),
        *parts.decoder(config, SAMPLES, TOKENS, TOKENS // TARGETS, TOKENS, 8192),
    ]
    tables = sum(table.size for table in (layout.inputs, layout.queries, layout.outputs))
    trained = tables if case["tables"] == "dense" else layout.outputs.size
    numbers = torch.zeros(trained * config.dim)
    moves = 7  # reads a weight, its gradient and two moments; writes all but the gradient
    read = Part("AdamW", moves, numbers.sum, 0, numbers.nbytes)
    dtype = torch.bfloat16 if "precision" in case else torch.float32
    return [parts.part("products", BACKWARD, forward, dtype), read]
