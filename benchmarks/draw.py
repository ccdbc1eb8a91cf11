"""Drawing ids from scores: with a nucleus or the best alone, against the plain draw."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs
import torch

from anymodal.generation.logits import draw
from anymodal.sampling import Sampling
from benchmarks.harness import twins
from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work

FILTERS = {"top_p": {"top_p": 0.8}, "top_k": {"top_k": 50}, "plain": {}}
ROWS, IDS = 8 * 196, 8192


@BENCHMARKS.register("draw")
@attrs.frozen
class Draw(Timed):
    """A draw for each of 1,568 positions from 8,192 scores; the floor is the draw without a filter."""

    target: ClassVar[str] = "1.5 times the plain draw"

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"filter": name, "rows": ROWS // 8, "deviation": 4} for name in ("top_p", "top_k")]
        return [{"filter": name, "rows": count, "deviation": 4} for count in (1, ROWS) for name in FILTERS]

    def prepare(self, case: Case) -> Work:
        rng = torch.Generator().manual_seed(0)
        scores = torch.randn(case["rows"], IDS, generator=rng) * case["deviation"]
        uniform = torch.rand(case["rows"], generator=rng)
        plain = partial(draw, scores, uniform, 1.0)
        chosen = FILTERS[case["filter"]]
        twin = partial(twins.drawn, scores, Sampling(**chosen))
        return Work(partial(plain, **chosen), lambda: [Part("plain draw", 1, plain)], twin, case["rows"], "draw")
