"""Averaging: ten draws against one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, Claim, Piece, Verdict, better, interval
from benchmarks.claims.worlds import model, scenes
from benchmarks.samplers import SHOWN, made, scores

WAYS = {
    "1 draw": {"scheme": "roar", "steps": 1, "temperature": 1.0, "guidance": 1.0},
    "10 draws": {"scheme": "roar", "steps": 1, "temperature": 1.0, "guidance": 1.0, "samples": 10},
    "likeliest": {},
}


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
            for seed in range(self.seeds):
                for way in WAYS:
                    yield f"{target}/{way}/{seed}", lambda t=target, w=way, s=seed: self._score(t, w, s)

    def _score(self, target: str, way: str, seed: int) -> dict[str, float]:
        held_out = scenes(HELD_OUT_SEED, 0, self.scenes)
        inputs = [{"rgb": scene.rgb} for scene in held_out]
        values = made(model(self.model), inputs, target, WAYS[way], seed)
        return scores(model(self.model), held_out, target, values)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        parts, won = [], []
        for target in self.targets.split():
            score = SHOWN[target][0]
            rows = {
                way: [each[score] for k in range(self.seeds) if (each := found.get(f"{target}/{way}/{k}"))]
                for way in WAYS
            }
            if not all(len(rows[way]) == self.seeds for way in ("1 draw", "10 draws")):
                continue
            shown = " -> ".join(interval(rows[way]) for way in ("1 draw", "10 draws"))
            rest = f" (likeliest: {interval(rows['likeliest'])})" if rows["likeliest"] else ""
            parts.append(f"{target} {score} {shown}{rest}")
            won.append(better(score, float(np.mean(rows["10 draws"])), float(np.mean(rows["1 draw"]))))
        met = all(won) if len(won) == len(self.targets.split()) else None
        return Verdict("; ".join(parts), met, f"{self.model}; {self.scenes} scenes, {self.seeds} seeds")
