"""Retrieval: how often a scene is the first found among many, asked by one modality or by two."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import anymodal as am
from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, PAIRS_SEED, Claim, Piece, Verdict, interval
from benchmarks.claims.worlds import model, scenes, side

INPUTS = ("rgb", "semseg", "caption", "depth", "normal", "canny_edge")
PAIRS = ("depth+caption", "semseg+caption", "depth+normal")
BATCH = 50


@CLAIMS.register("retrieval")
@attrs.frozen
class Found(Claim):
    """Each seed has scenes of its own, indexed by what the tiny teacher sees in their pictures.

    Queries are calibrated by pairs of a world that nothing was trained on, and nothing is scored on.
    """

    claim = "retrieval: recall@1 among 1,000 scenes from rgb, depth, normal, semseg, canny_edge and caption"
    bar = "at least 20 times chance from each; two inputs beat either"
    page = "how-to/search-by-any-modality.md"

    model: str = "tiny"
    by: str = "imagebind_global"
    scenes: int = 1000
    pairs: int = 1000
    seeds: int = 3

    def pieces(self) -> Iterator[Piece]:
        for asked in (*INPUTS, *PAIRS):
            for seed in range(self.seeds):
                yield f"{asked}/{seed}", lambda asked=asked, seed=seed: self._found(asked.split("+"), seed)

    def _found(self, names: list[str], seed: int) -> dict[str, dict[str, float]]:
        """recall@1 and the median rank, of the vectors that the model expects and of those that are calibrated."""
        known = indexed(self.model, self.by)
        known.hold(seed, self.scenes)
        known.calibrate(names, self.pairs)
        made = scenes(HELD_OUT_SEED, seed * self.scenes, self.scenes, side(self.model))
        own, inputs = model(self.model), inputs_of(self.model, made, names)
        parts = [inputs[k : k + BATCH] for k in range(0, len(inputs), BATCH)]
        expected = np.concatenate([own.embed_batch(part, self.by) for part in parts])
        moved = known.index.calibrated(expected, names)
        return {"calibrated": known.ranked(moved, seed), "expected": known.ranked(expected, seed)}

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows = self._rows(found)
        means = {asked: float(np.mean(values)) for asked, values in rows.items()}
        shown = "; ".join(f"{asked} {interval(values)}" for asked, values in rows.items())
        chance, met = 1 / self.scenes, None
        if len(found) == self.seeds * len((*INPUTS, *PAIRS)):
            pairs = all(means[pair] > max(means[name] for name in pair.split("+")) for pair in PAIRS)
            met = pairs and all(means[name] >= 20 * chance for name in INPUTS)
        size = f"{self.model}; {self.seeds} sets of {self.scenes} scenes; calibrated by {self.pairs} pairs of others"
        return Verdict(f"recall@1: {shown} (chance {chance:g})", met, size)

    def table(self, found: Mapping[str, Any]) -> list[str]:
        lines = [
            "| from | calibrated, recall@1 | median rank | expected, recall@1 | median rank |",
            "| --- | --- | --- | --- | --- |",
        ]
        for asked in self._rows(found):
            cells = [asked.replace("+", " + ")]
            for way in ("calibrated", "expected"):
                recalls, ranks = (self._rows(found, way, score)[asked] for score in ("recall@1", "median rank"))
                cells += [f"{interval([100 * each for each in recalls], 1)} %", f"{float(np.mean(ranks)):.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def _rows(
        self, found: Mapping[str, Any], way: str = "calibrated", score: str = "recall@1"
    ) -> dict[str, list[float]]:
        """The scores of all seeds, of what is done."""
        rows = {
            asked: [found[piece][way][score] for k in range(self.seeds) if (piece := f"{asked}/{k}") in found]
            for asked in (*INPUTS, *PAIRS)
        }
        return {asked: values for asked, values in rows.items() if values}


class Indexed:
    """An index of sets of scenes by what the teacher sees in them, filled and calibrated as it is asked."""

    def __init__(self, name: str, by: str) -> None:
        self.name, self.by, self.held = name, by, list[int]()
        self._folder = tempfile.TemporaryDirectory()
        own = model(name)
        self.index = am.Index.create(Path(self._folder.name) / "index", own.modalities[by].channels, model=own, by=by)

    def hold(self, seed: int, count: int) -> None:
        """Add the held-out scenes of a seed."""
        if seed not in self.held:
            names = [f"{seed}/{k}" for k in range(count)]
            made = scenes(HELD_OUT_SEED, seed * count, count, side(self.name))
            self.index.add(seen(self.by, made), names, {"seed": [float(seed)] * count})
            self.held.append(seed)

    def calibrate(self, names: Sequence[str], count: int) -> None:
        """Calibrate queries by modalities together, unless they are."""
        if "+".join(sorted(names)) not in self.index.record.calibrations:
            pairs = scenes(PAIRS_SEED, 0, count, side(self.name))
            self.index.calibrate(model(self.name), inputs_of(self.name, pairs, names), seen(self.by, pairs))

    def ranked(self, vectors: np.ndarray, seed: int) -> dict[str, float]:
        """Where the scenes of a seed come among all of them, asked for by their vectors in order."""
        rows, _ = self.index.nearest(vectors, len(vectors), where={"seed": float(seed)})
        own = self.held.index(seed) * len(vectors) + np.arange(len(vectors))
        ranks = (rows == own[:, None]).argmax(1)
        return {"recall@1": float((ranks == 0).mean()), "median rank": float(np.median(ranks)) + 1}


@functools.cache
def indexed(name: str, by: str) -> Indexed:
    """The index that all pieces of a process share."""
    return Indexed(name, by)


def seen(by: str, made: Sequence[Any]) -> np.ndarray:
    """What the tiny teacher sees in the pictures of scenes."""
    from anymodal_tiny import teachers

    known = {cls.modality: cls for cls in vars(teachers).values() if getattr(cls, "whole", False)}
    teacher = known[by]()
    parts = [made[k : k + BATCH] for k in range(0, len(made), BATCH)]
    return np.concatenate([np.stack(teacher.label([{"rgb": scene.rgb} for scene in part])) for part in parts])


def inputs_of(name: str, made: Sequence[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The true values of modalities of scenes; edges are derived from their pictures."""
    edges = model(name).modalities["canny_edge"]
    return [
        {each: edges.derive({"rgb": scene.rgb}) if each == "canny_edge" else getattr(scene, each) for each in names}
        for scene in made
    ]
