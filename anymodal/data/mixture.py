"""Several datasets in fixed shares, as a pure function of the position.

Positions are counted in blocks. Every block holds exactly its share of each dataset (by the largest remainder), in an
order drawn from (seed, block), so that what stands at a position follows without a look at those before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from anymodal.data.order import generator
from anymodal.errors import ConfigError

BLOCK = 256  # positions, at least
LARGEST = 1 << 16


class Mixture:
    """Which dataset stands at a position, and how many of its samples stand before: `mixture(position)`.

    `weights` are those of the datasets; `counts` is how many positions of a block each has.
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        self.seed = seed
        self.counts = shares(weights, block_length(weights))
        self.length = int(self.counts.sum())
        self._block = -1
        self._dataset = self._rank = np.empty(0, np.int64)

    def __call__(self, position: int) -> tuple[int, int]:
        """The dataset at a position, and its rank among the positions of that dataset."""
        block, offset = divmod(position, self.length)
        if block != self._block:
            order = np.repeat(np.arange(len(self.counts)), self.counts)
            order = generator(self.seed, "mixture", block).permutation(order)
            ranks = np.empty(self.length, np.int64)
            for dataset, count in enumerate(self.counts):
                ranks[order == dataset] = block * count + np.arange(count)
            self._block, self._dataset, self._rank = block, order, ranks
        return int(self._dataset[offset]), int(self._rank[offset])


def block_length(weights: Sequence[float]) -> int:
    """The length of a block: one in which the weights have whole shares, or one that comes close.

    Raises ConfigError for a weight so small that it has no share.
    """
    if min(weights) * LARGEST < sum(weights):
        raise ConfigError(f"a weight of {min(weights)} among {sum(weights)} is too small: less than one in {LARGEST}")
    exact = [Fraction(weight / max(weights)).limit_denominator(LARGEST) for weight in weights]
    whole = math.lcm(*((each / sum(exact)).denominator for each in exact))
    return whole * -(-BLOCK // whole) if whole <= LARGEST else LARGEST


def shares(weights: Sequence[float], length: int) -> np.ndarray:
    """`length` positions split by weights, by the largest remainder; the earlier dataset wins a tie."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * length
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rest = length - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return counts
