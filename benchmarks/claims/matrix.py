"""Any to any: every target from every input of the model, against a constant and against the inputs of other scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import anymodal as am
from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, TRAIN_SEED, Claim, Piece, Verdict, better, lower
from benchmarks.claims.scores import constants, headline
from benchmarks.claims.worlds import model, values


def estimate(modality: am.Modality) -> dict[str, Any]:
    """Sampling options for the best single estimate: what the model expects of grids, and what the checkpoint says of
    sequences where a picture is known, which is the likeliest one, or what several draws agree on."""
    tuned = modality.tuned_sampling(grounded=True)
    if tuned.scheme.sequences:
        written = {"scheme": tuned.scheme, "temperature": tuned.temperature}
        return {**written, "samples": tuned.samples, "guidance": 1.0}
    known = tuned.scheme.name == "mean"
    return {"scheme": "mean", "temperature": tuned.temperature if known else 1.0, "guidance": 1.0, "top_p": 0.0}


@CLAIMS.register("matrix")
@attrs.frozen
class Matrix(Claim):
    """Each cell is the mean over `seeds`, each with `scenes` held-out scenes of its own.

    A cell is the model's best single estimate, by a score that no constant can make perfect (`scores.headline`).
    `shuffled` is that of the same predictions against the truths of other scenes; the constant is the value, of `known`
    training scenes, that scores best on these, or their mean.
    """

    claim = "any to any: the whole input x target matrix"
    bar = "each cell better than the target's constant and than shuffled inputs"

    model: str = "tiny"
    scenes: int = 24
    seeds: int = 3
    known: int = 60

    def pieces(self) -> Iterator[Piece]:
        yield "constant", self._constants
        for given in model(self.model).modalities.modalities:
            yield given, lambda given=given: self._row(given)

    def _constants(self) -> dict[str, Any]:
        """The score of the best constant on the held-out scenes of each seed, by target."""
        sets = model(self.model).modalities
        known = values(self.model, TRAIN_SEED, 0, self.known)
        chosen: dict[str, Any] = {}
        for name in sets.targets:
            true = [sample[name] for sample in known if name in sample]
            if not true:
                continue
            tried = [(headline(sets[name], [each] * len(true), true), each) for each in constants(true)]
            (score, _), _ = tried[0]
            best = min if lower(score) else max
            chosen[name] = best(tried, key=lambda pair: pair[0][1])[1]
        found: dict[str, Any] = {name: {} for name in chosen}
        for seed, held_out in enumerate(self._held_out()):
            for name, value in chosen.items():
                true = [sample[name] for sample in held_out if name in sample]
                if len(true) > 1:
                    found[name][str(seed)] = headline(sets[name], [value] * len(true), true)[1]
        return found

    def _held_out(self) -> list[tuple[dict[str, Any], ...]]:
        """The scenes of each seed."""
        every = values(self.model, HELD_OUT_SEED, 0, self.seeds * self.scenes)
        return [every[seed * self.scenes : (seed + 1) * self.scenes] for seed in range(self.seeds)]

    def _row(self, given: str) -> dict[str, Any]:
        """All targets from one input, by seed; those of all seeds are generated in one batch, as it would alone."""
        sets = model(self.model).modalities
        targets = [name for name in sets.targets if name != given]
        parts = [[sample for sample in part if given in sample] for part in self._held_out()]
        inputs = [{given: sample[given]} for part in parts for sample in part]
        how = {name: estimate(sets[name]) for name in targets}
        made = iter(model(self.model).generate_batch(inputs, targets, chain=False, options=how))
        found: dict[str, Any] = {}
        for seed, part in enumerate(parts):
            said = [next(made) for _ in part]
            for name in targets:
                pairs = [(out[name], sample[name]) for out, sample in zip(said, part, strict=True) if name in sample]
                if len(pairs) > 1:
                    found.setdefault(str(seed), {})[name] = _cell(sets[name], *map(list, zip(*pairs, strict=True)))
        return found

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        cells = cells_of(found)
        if not cells:
            return Verdict("nothing yet", None, self._size(0))
        passed = [cell for cell in cells.values() if cell["beats constant"] and cell["beats shuffled"]]
        shuffled = sum(cell["beats shuffled"] for cell in cells.values())
        constant = sum(cell["beats constant"] for cell in cells.values())
        text = (
            f"{len(passed)} of {len(cells)} cells better than both; {shuffled} better than shuffled inputs, {constant}"
            " better than the constant"
        )
        return Verdict(text, len(passed) == len(cells), self._size(len(cells)))

    def _size(self, cells: int) -> str:
        return f"{self.model}; {cells} cells, {self.seeds} seeds of {self.scenes} scenes each"

    def figure(self, found: Mapping[str, Any]) -> Callable[[Path], None] | None:
        from benchmarks.claims.heat_map import draw

        cells = cells_of(found)
        return (lambda path: draw(cells, path)) if cells else None


def _cell(modality: am.Modality, said: list[Any], true: list[Any]) -> dict[str, Any]:
    """The score of predictions, and that of each against the next truth."""
    score, own = headline(modality, said, true)
    return {"score": score, "own": own, "shuffled": headline(modality, said, true[1:] + true[:1])[1]}


def cells_of(found: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Means over seeds by (input, target), and whether they beat both baselines."""
    gathered: dict[tuple[str, str], list[tuple[str, float, float, float]]] = {}
    for given, by_seed in found.items():
        for seed, row in by_seed.items() if given != "constant" else ():
            for target, cell in row.items():
                constant = found.get("constant", {}).get(target, {}).get(seed)
                if constant is not None:
                    values = (cell["score"], cell["own"], cell["shuffled"], constant)
                    gathered.setdefault((given, target), []).append(values)
    cells = {}
    for place, rows in gathered.items():
        score = rows[0][0]
        own, shuffled, constant = (float(np.mean([row[k] for row in rows])) for k in (1, 2, 3))
        cells[place] = {
            "score": score, "own": own, "shuffled": shuffled, "constant": constant, "seeds": len(rows),
            "beats constant": better(score, own, constant), "beats shuffled": better(score, own, shuffled),
        }  # fmt: skip
    return cells
