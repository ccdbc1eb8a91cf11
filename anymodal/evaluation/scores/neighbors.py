"""Scores of vectors by what is nearest to them among reference vectors, which an index keeps on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anymodal.evaluation.metrics import Averages
from anymodal.retrieval.index import Index


class Neighbors(Averages):
    """A metric that asks the index of the reference vectors, whose names are their truths."""

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top
        self.index: Index | None = None

    def refer(self, index: Index) -> None:
        """The index, before the first update."""
        self.index = index

    def nearest(self, vectors: Sequence[Any]) -> tuple[list[list[str]], np.ndarray]:
        """The names and cosines of the nearest rows of each vector, from the best down."""
        assert self.index is not None
        rows, cosines = self.index.nearest(np.stack(vectors), self.top)
        return [[hit.name for hit in self.index.hits(*pair)] for pair in zip(rows, cosines, strict=True)], cosines

    def update(self, prediction: Any, truth: Any) -> float | None:
        return self.update_all([prediction], [truth])[0]


class NeighborVotes(Neighbors):
    """`top1` and `top5`: how often the class with most votes, or one of five, is the true one.

    The nearest reference vectors vote for their class, each by exp(cosine / temperature) (Wu et al. 2018, arXiv
    1805.01978; Caron et al. 2021, arXiv 2104.14294).
    """

    def __init__(self, neighbors: int = 20, temperature: float = 0.07) -> None:
        super().__init__(neighbors)
        self.temperature = temperature

    def update_all(self, predictions: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
        """Vectors, or classes where one is the same for all; truths are classes. The own score is the true share."""
        if all(isinstance(each, str) for each in predictions):
            ranked = [{str(each): 1.0} for each in predictions]
        else:
            ranked = [self._votes(*pair) for pair in zip(*self.nearest(predictions), strict=True)]
        for shares, truth in zip(ranked, truths, strict=True):
            order = sorted(shares, key=lambda name: -shares[name])
            self.means.add("top1", float(order[:1] == [truth]))
            self.means.add("top5", float(truth in order[:5]))
        return [shares.get(truth, 0.0) for shares, truth in zip(ranked, truths, strict=True)]

    def _votes(self, names: Sequence[str], cosines: np.ndarray) -> dict[str, float]:
        """The share of the votes of each class, the nearest first among equals."""
        weights = np.exp((cosines[: len(names)] - cosines[0]) / self.temperature)
        shares: dict[str, float] = {}
        for name, weight in zip(names, weights / weights.sum(), strict=True):
            shares[name] = shares.get(name, 0.0) + float(weight)
        return shares


class Recall(Neighbors):
    """`recall1`, `recall5` and `recall10`: how often the true row is among so many of the nearest."""

    def __init__(self, places: Sequence[int] = (1, 5, 10)) -> None:
        super().__init__(max(places))
        self.places = tuple(places)

    def update_all(self, predictions: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
        """Vectors, and the names of the rows that belong to them. The own score is one divided by the place."""
        own: list[float | None] = []
        for names, truth in zip(self.nearest(predictions)[0], truths, strict=True):
            place = names.index(truth) + 1 if truth in names else 0
            for places in self.places:
                self.means.add(f"recall{places}", float(0 < place <= places))
            own.append(1 / place if place else 0.0)
        return own
