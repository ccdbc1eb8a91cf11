"""Retrieval: how often a scene is the first found among many, asked by one modality or by two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, Claim, Piece, Verdict, interval
from benchmarks.claims.worlds import model, scenes
from benchmarks.retrieval import chunks

INPUTS = ("rgb", "depth", "normal", "semseg", "canny_edge", "caption")
PAIRS = ("depth+caption", "semseg+caption", "depth+normal")


@CLAIMS.register("retrieval")
@attrs.frozen
class Found(Claim):
    """Each seed has scenes of its own, indexed by what the tiny teacher sees in their pictures."""

    claim = "retrieval: recall@1 among 1,000 scenes from rgb, depth, normal, semseg, canny_edge and caption"
    bar = "at least 20 times chance from each; two inputs beat either"

    model: str = "tiny"
    by: str = "imagebind_global"
    scenes: int = 1000
    seeds: int = 3

    def pieces(self) -> Iterator[Piece]:
        for seed in range(self.seeds):
            for asked in (*INPUTS, *PAIRS):
                yield f"{asked}/{seed}", lambda asked=asked, seed=seed: self._recall(asked.split("+"), seed)

    def _recall(self, names: list[str], seed: int) -> float:
        made = list(scenes(HELD_OUT_SEED, seed * self.scenes, self.scenes))
        products = self._vectors(names, made, seed) @ self._indexed(made).T
        return float(((products > np.diag(products)[:, None]).sum(1) == 0).mean())

    def _indexed(self, made: list[Any]) -> np.ndarray:
        from anymodal_tiny import teachers

        known = {cls.modality: cls for cls in vars(teachers).values() if getattr(cls, "whole", False)}
        teacher = known[self.by]()
        true = np.concatenate([np.stack(teacher.label([{"rgb": s.rgb} for s in part])) for part in chunks(made)])
        return true / np.linalg.norm(true, axis=1, keepdims=True)

    def _vectors(self, names: list[str], made: list[Any], seed: int) -> np.ndarray:
        edges = model(self.model).modalities["canny_edge"]

        def value(scene: Any, name: str) -> Any:
            return edges.derive({"rgb": scene.rgb}) if name == "canny_edge" else getattr(scene, name)

        found = []
        for part in chunks(made):
            inputs = [{name: value(scene, name) for name in names} for scene in part]
            found.append(model(self.model).embed_batch(inputs, self.by, seed=seed, normalize=True))
        return np.concatenate(found)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows = {
            asked: [found[f"{asked}/{k}"] for k in range(self.seeds) if f"{asked}/{k}" in found]
            for asked in (*INPUTS, *PAIRS)
        }
        means = {asked: float(np.mean(values)) for asked, values in rows.items() if values}
        shown = "; ".join(f"{asked} {interval(rows[asked])}" for asked in means)
        chance = 1 / self.scenes
        met = None
        if all(len(values) == self.seeds for values in rows.values()):
            pairs = all(means[pair] > max(means[name] for name in pair.split("+")) for pair in PAIRS)
            met = pairs and all(means[name] >= 20 * chance for name in INPUTS)
        return Verdict(
            f"recall@1: {shown} (chance {chance:g})", met, f"{self.model}; {self.seeds} sets of {self.scenes} scenes"
        )
