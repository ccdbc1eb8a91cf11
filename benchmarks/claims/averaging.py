"""Averaging: ten draws against one, as `python -m benchmarks samplers` measures them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from benchmarks.claims.base import CLAIMS, Claim, Piece, Verdict, better, interval
from benchmarks.samplers import SHOWN, Samplers

ONE, TEN, USUAL = "one step, drawn", "one step, 10 draws", "default"


@CLAIMS.register("averaging")
@attrs.frozen
class Averaging(Claim):
    """Drawn once, drawn ten times, and the model's default for a picture, which takes the likeliest ids."""

    claim = "averaging: samples=10 beats 1 on semseg, depth and normals"
    bar = "better on all three"

    model: str = "tiny"
    scenes: int = 40
    seeds: int = 3
    targets: str = "semseg depth normal"

    def pieces(self) -> Iterator[Piece]:
        for target in self.targets.split():
            yield target, lambda target=target: self._scores(target)

    def _scores(self, target: str) -> dict[str, list[float]]:
        ways = (ONE, TEN, USUAL)
        found = Samplers(self.model, self.scenes, self.seeds, target, ";".join(ways)).run(quick=False)
        score = SHOWN[target][0]
        return {way: [each["scores"][score] for each in found[f"{target}/{way}"]] for way in ways}

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        parts, won = [], []
        for target, ways in found.items():
            score = SHOWN[target][0]
            shown = " -> ".join(interval(ways[way]) for way in (ONE, TEN))
            parts.append(f"{target} {score} {shown} (likeliest ids: {interval(ways[USUAL])})")
            won.append(better(score, float(np.mean(ways[TEN])), float(np.mean(ways[ONE]))))
        met = all(won) if len(won) == len(self.targets.split()) else None
        return Verdict("; ".join(parts), met, f"{self.model}; {self.scenes} scenes, {self.seeds} seeds")
