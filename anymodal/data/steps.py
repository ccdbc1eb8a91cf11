"""Batches as a pure function of the step: what makes a run repeatable, and resumable at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset


class EpochOrder:
    """Which samples belong to a step: every epoch is a new permutation, drawn from (seed, epoch)."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __call__(self, step: int) -> list[int]:
        """Indices of the batch; batches run on across the borders of epochs."""
        start = step * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self.count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.count)
        return int(self._order[offset])


class _Steps(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Any:
        return self.make(step)


def step_batches(make: Callable[[int], Any], steps: int, workers: int = 0) -> Callable[[int], Iterator[Any]]:
    """A factory of batches make(start), make(start + 1), ... for `Engine.run`, made by `workers` processes."""

    def batches(start: int) -> Iterator[Any]:
        return iter(DataLoader(_Steps(make), batch_size=None, sampler=range(start, steps), num_workers=workers))

    return batches
