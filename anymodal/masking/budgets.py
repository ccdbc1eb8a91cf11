"""Token budgets: how many tokens of a sample each stream gives to the input and to the targets.

Numbers of single streams are plain Python numbers: for the few streams of a sample that is faster than arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

SMALLEST_ALPHA = 1e-9
ROWS = 12  # that are drawn at once: a split takes one, and one for each token that rounding leaves


class Alphas:
    """Dirichlet concentrations of streams (streams,), and which of them are positive."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.positive: list[int] = (values > 0).nonzero()[0].tolist()
        self.column = dict(zip(self.positive, range(len(self.positive)), strict=True))

    def weights(self, streams: Sequence[int]) -> np.ndarray:
        """How likely each of some streams is to get everything if concentrations are so small that one gets it."""
        weights = np.maximum(self.values[list(streams)], SMALLEST_ALPHA)
        return weights / weights.sum()


class Gammas:
    """Rows of independent gamma draws of the positive concentrations, drawn several at a time.

    A row over its sum is a Dirichlet draw, also if streams are left out of both, and its largest number is where that
    draw is largest.
    """

    def __init__(self, alphas: Alphas, rng: np.random.Generator, rows: Iterable[Sequence[float]] = ()) -> None:
        self.alphas, self.rng = alphas, rng
        self._rows: Iterator[Sequence[float]] = iter(rows)

    @classmethod
    def pairs(cls, first: Alphas, second: Alphas, rng: np.random.Generator, count: int) -> list[tuple[Gammas, Gammas]]:
        """Draws of two sets of concentrations for `count` samples; all first rows are drawn in one call.

        Most of the time of such a call is its start.
        """
        columns = len(first.positive)
        both = np.concatenate([first.values[first.positive], second.values[second.positive]])
        drawn = rng.standard_gamma(both, (count, ROWS, len(both))).tolist()
        return [
            (cls(first, rng, [row[:columns] for row in rows]), cls(second, rng, [row[columns:] for row in rows]))
            for rows in drawn
        ]

    def row(self, streams: Sequence[int]) -> list[float]:
        """Draws for the given streams, at least one of them positive."""
        row = next(self._rows, None)
        if row is None:
            alpha = self.alphas.values[self.alphas.positive]
            self._rows = iter(self.rng.standard_gamma(alpha, (ROWS, len(alpha))).tolist())
            row = next(self._rows)
        column = self.alphas.column
        every = list(streams) == self.alphas.positive
        found = list(row) if every else [row[column[i]] if i in column else 0.0 for i in streams]
        if not any(found):  # as it is in the limit
            found[int(self.rng.choice(len(found), p=self.alphas.weights(streams)))] = 1.0
        return found


def budgets(gammas: Gammas, total: int, room: Sequence[int]) -> np.ndarray:
    """Split `total` tokens over streams: floor of a Dirichlet draw, the remainder by argmax of further draws.

    What a stream has no `room` for goes to the others by the same rule, so that the sum is min(total, sum of room) over
    the streams with a positive concentration. `room` and the result have one entry a stream.
    """
    return np.array(dealt(gammas, total, room), np.int64)


def dealt(gammas: Gammas, total: int, room: Sequence[int]) -> list[int]:
    """As `budgets`, as plain numbers."""
    counts = [0] * len(room)
    if total <= 0:
        return counts
    active = [i for i in gammas.alphas.positive if room[i] > 0]
    left = min(total, sum([room[i] for i in active]))
    while left > 0:
        drawn = _split(gammas, active, left) if len(active) > 1 else [left]
        left = 0
        for i, count in zip(active, drawn, strict=True):
            held = counts[i] + count
            if held > room[i]:
                left += held - room[i]
                held = room[i]
            counts[i] = held
        if left > 0:
            active = [i for i in active if counts[i] < room[i]]
    return counts


def published_budgets(gammas: Gammas, total: int, streams: Sequence[int], most: np.ndarray) -> np.ndarray:
    """Split `total` tokens over streams as 4M does (arXiv 2312.06647): what exceeds `most` of a stream is lost.

    Floor of a Dirichlet draw over all of `streams` (concentrations at least 1e-9), the rest by argmax of further draws.
    `most` has one entry a stream of the layout, and so has the result: 0 for those that are not among `streams`.
    """
    counts = np.zeros(len(most), np.int64)
    counts[list(streams)] = _split(gammas, streams, total)
    return np.minimum(counts, most)


def _split(gammas: Gammas, streams: Sequence[int], total: int) -> list[int]:
    """Floor of a Dirichlet draw times the total, and the rest one by one to the largest of a further draw each."""
    row = gammas.row(streams)
    whole = sum(row)
    counts = [int(number / whole * total) for number in row]
    rest = total - sum(counts)
    for _ in range(rest):
        row = gammas.row(streams)
        counts[row.index(max(row))] += 1
    if rest < 0:  # rounding
        counts[counts.index(max(counts))] += rest
    return counts
