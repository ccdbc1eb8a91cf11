"""Positions far from one another first (Halton scheduler, Besnier et al., arXiv 2503.17076)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from anymodal.errors import ConfigError, brief
from anymodal.sampling.schemes.base import SCHEMES, Choices, Ordered

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


def _switch(value: object) -> bool:
    if value not in (0, 1):
        raise ConfigError(f"rolled is 1 or 0, got {brief(value)}")
    return bool(value)


@SCHEMES.add
@attrs.frozen
class Halton(Ordered):
    """Positions in the order of a Halton sequence, from a random place of it on: each step's lie far apart.

    With `rolled` 0 every sample has the same order, from the start of the sequence.
    """

    name: str = attrs.field(init=False, default="halton")
    rolled: bool = attrs.field(default=True, converter=_switch)

    def order(self, shape: tuple[int, int], unknown: np.ndarray, choices: Choices) -> np.ndarray:
        ranks = halton_ranks(shape)
        if self.rolled and len(ranks):
            ranks = (ranks - int(float(choices.uniform(1)[0]) * len(ranks))) % len(ranks)
        return unknown[np.argsort(ranks[unknown])]


@lru_cache(64)
def halton_ranks(shape: tuple[int, int]) -> np.ndarray:
    """The rank (rows * columns,) of each position of a grid: when a Halton sequence (bases 2 and 3) first meets it."""
    rows, columns = shape
    total = rows * columns
    first = np.full(total, np.iinfo(np.int64).max)
    points = 4 * total + 64
    while True:
        number = np.arange(1, points + 1)
        cells = (_radical(number, 2) * rows).astype(int) * columns + (_radical(number, 3) * columns).astype(int)
        met, at = np.unique(cells, return_index=True)
        first[met] = at
        if len(met) == total:
            return first.argsort(kind="stable").argsort(kind="stable")
        points *= 2


def _radical(number: np.ndarray, base: int) -> np.ndarray:
    """The digits of whole numbers (n,) in a base, mirrored at the point: the van der Corput sequence, in [0, 1)."""
    left, result, unit = number.copy(), np.zeros(len(number)), 1.0
    while left.any():
        unit /= base
        left, digit = np.divmod(left, base)
        result += digit * unit
    return result
