"""Metrics that accumulate: one sample after the other, in memory that does not grow with their number."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from anymodal.modality import Modality
from anymodal.plugins.guard import blame

ALMOST = 1e-3  # an error of a value against itself, as rule AM603 has it


class Metric(ABC):
    """Takes in predictions with their truths, and says in the end how good they are."""

    @abstractmethod
    def update(self, prediction: Any, truth: Any) -> float | None:
        """Take in one sample; returns a score of its own, by which pictures are chosen, None if its truth says nothing.

        Higher is better.
        """

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The scores of all samples so far, by name; none of them where no truth said anything."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was accumulated, as JSON can hold it."""

    @abstractmethod
    def merge(self, state: Mapping[str, Any]) -> None:
        """Add what another one of the same kind accumulated, as its `state` says it."""

    def update_all(self, predictions: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
        """`update` for several samples; a metric that can do them faster together has its own."""
        return [self.update(prediction, truth) for prediction, truth in zip(predictions, truths, strict=True)]


@attrs.define
class Means:
    """Means of numbers by name: `sums` and `counts`."""

    sums: dict[str, float] = attrs.field(factory=dict)
    counts: dict[str, int] = attrs.field(factory=dict)

    def add(self, name: str, value: float, count: int = 1) -> None:
        """Add a sum of `count` numbers."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + count

    def __getitem__(self, name: str) -> float:
        return self.sums[name] / self.counts[name]

    def __iter__(self) -> Any:
        return iter(name for name, count in self.counts.items() if count)

    def state(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the sums and counts of a state."""
        for name, value in state["sums"].items():
            self.add(str(name), float(value), int(state["counts"][name]))


class Averages(Metric):
    """A metric whose scores are means of what `update` adds to `means`."""

    def __init__(self) -> None:
        self.means = Means()

    def compute(self) -> dict[str, float]:
        return {name: self.means[name] for name in self.means}

    def state(self) -> dict[str, Any]:
        return self.means.state()

    def merge(self, state: Mapping[str, Any]) -> None:
        self.means.merge(state)


class SampleMean(Averages):
    """The scores of a modality's own `score`, one sample at a time, averaged over the samples.

    Of the first of them a sample has its own: an error, which is 0 for the truth itself, counts below zero.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.modality = modality

    def update(self, prediction: Any, truth: Any) -> float | None:
        with blame(self.modality, "score", prediction):
            scores = {str(name): float(value) for name, value in self._score(prediction, truth).items()}
            perfect = self._score(truth, truth)
        for name, value in scores.items():
            if math.isfinite(value):
                self.means.add(name, value)
        first = next(iter(scores), None)
        if first is None:
            return None
        return scores[first] if abs(perfect.get(first, 0)) > ALMOST else -scores[first]

    def _score(self, prediction: Any, truth: Any) -> dict[str, float]:
        return self.modality.score([prediction], [truth])
