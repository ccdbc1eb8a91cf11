"""Token budgets: how many tokens of a sample each stream gives to the input and to the targets."""

from __future__ import annotations

import numpy as np

SMALLEST_ALPHA = 1e-9


def budgets(alphas: np.ndarray, total: int, room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split `total` tokens over streams: floor of a Dirichlet draw, the remainder by argmax of further draws.

    What a stream has no `room` for goes to the others by the same rule, so that the sum is min(total, sum of room) over
    the streams with a positive alpha. `alphas`, `room` and the result have one entry a stream.
    """
    counts = np.zeros(len(alphas), np.int64)
    room = np.where(alphas > 0, room, 0)
    left = min(total, int(room.sum()))
    while left > 0:
        active = np.flatnonzero(counts < room)
        alpha = np.maximum(alphas[active], SMALLEST_ALPHA)
        share = _dirichlet(alpha, 1, rng)[0]
        draw = np.floor(share * left).astype(np.int64)
        extra = _dirichlet(alpha, left - int(draw.sum()), rng).argmax(1)
        draw += np.bincount(extra, minlength=len(active))
        counts[active] += np.minimum(draw, room[active] - counts[active])
        left = min(total, int(room.sum())) - int(counts.sum())
    return counts


def published_budgets(alphas: np.ndarray, total: int, most: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split `total` tokens over streams as 4M does (arXiv 2312.06647): what exceeds `most` of a stream is lost.

    Floor of a Dirichlet draw over all streams (concentrations at least 1e-9), the rest by argmax of further draws.
    """
    alpha = np.maximum(alphas, SMALLEST_ALPHA)
    counts = np.floor(_dirichlet(alpha, 1, rng)[0] * total).astype(np.int64)
    extra = _dirichlet(alpha, total - int(counts.sum()), rng).argmax(1)
    return np.minimum(counts + np.bincount(extra, minlength=len(alpha)), most)


def _dirichlet(alpha: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (count, streams); concentrations so small that a draw underflows put everything on one stream."""
    draws = rng.dirichlet(alpha, count)
    bad = ~np.isfinite(draws).all(1) | (np.abs(draws.sum(1) - 1) > 1e-6)
    if bad.any():
        draws[bad] = np.eye(len(alpha))[rng.choice(len(alpha), int(bad.sum()), p=alpha / alpha.sum())]
    return draws
