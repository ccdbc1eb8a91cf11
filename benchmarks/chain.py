"""Several targets from one picture, each helped by those before it."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs

from anymodal.sampling import Sampling
from benchmarks.harness.base import BENCHMARKS, Case, Timed, Work
from benchmarks.harness.models import SIZES, generate, transformer

GRID = Sampling(scheme="roar", steps=1, temperature=0.0, guidance=2.0)
TEXT = Sampling(scheme="autoregressive", temperature=0.3, top_p=0.8)
PLAN = [("depth", GRID), ("normal", GRID), ("semseg", GRID), ("caption", TEXT), ("det", TEXT)]


@BENCHMARKS.register("chain")
@attrs.frozen
class Chain(Timed):
    """rgb to depth, normal, semseg, caption and det, in the order of the published demonstration."""

    target: ClassVar[str] = "4 times the original"

    def cases(self, quick: bool) -> list[Case]:
        return [] if quick else [{"size": size, "batch": 1} for size in SIZES]

    def prepare(self, case: Case) -> Work:
        return Work(partial(generate, transformer(case["size"]), ["rgb"], PLAN, case["batch"]))
