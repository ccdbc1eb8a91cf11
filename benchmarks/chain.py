"""Several targets from one picture, each helped by those before it or apart from them."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs

from anymodal.model import Transformer
from anymodal.sampling import Sampling
from benchmarks.harness.base import BENCHMARKS, Case, Timed, Work
from benchmarks.harness.models import SIZES, generate, transformer

GRID = Sampling(scheme="roar", steps=1, temperature=0.0, guidance=2.0)
TEXT = Sampling(scheme="autoregressive", temperature=0.3, top_p=0.8)
PLAN = [("depth", GRID), ("normal", GRID), ("semseg", GRID), ("caption", TEXT), ("det", TEXT)]


ROWS = [(1, True), (1, False), (8, False)]


@BENCHMARKS.register("chain")
@attrs.frozen
class Chain(Timed):
    """rgb to depth, normal, semseg, caption and det: each from those before too, as published, or from rgb alone."""

    target: ClassVar[str] = "4 times the original"

    def cases(self, quick: bool) -> list[Case]:
        rows = [{"size": size, "batch": batch, "chain": chain} for size in SIZES for batch, chain in ROWS]
        return [] if quick else rows

    def prepare(self, case: Case) -> Work:
        model, batch = transformer(case["size"]), case["batch"]
        if case["chain"]:
            return Work(partial(generate, model, ["rgb"], PLAN, batch))
        return Work(partial(generate, model, ["rgb"], PLAN, batch, chain=False), twin=partial(one_by_one, model, batch))


def one_by_one(model: Transformer, batch: int) -> None:
    """Each target in a call of its own."""
    for target in PLAN:
        generate(model, ["rgb"], [target], batch)
