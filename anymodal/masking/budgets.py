"""Token budgets: how many tokens of a sample each stream gives to the input and to the targets."""

from __future__ import annotations

import numpy as np

SMALLEST_ALPHA = 1e-9
UNDERFLOWS = 0.05  # above it, a gamma underflows less than once in 1e15 draws


def budgets(alphas: np.ndarray, total: int, room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split `total` tokens over streams: floor of a Dirichlet draw, the remainder by argmax of further draws.

    What a stream has no `room` for goes to the others by the same rule, so that the sum is min(total, sum of room) over
    the streams with a positive alpha. `alphas`, `room` and the result have one entry a stream.
    """
    counts = np.zeros(len(alphas), np.int64)
    active = ((alphas > 0) & (room > 0)).nonzero()[0]
    alpha, free = np.maximum(alphas[active], SMALLEST_ALPHA), room[active]
    left = min(total, int(free.sum()))
    if left > 0 and len(active) == 1:
        counts[active] = left
        return counts
    while left > 0:
        drawn = np.minimum(_split(alpha, left, rng), free)
        counts[active] += drawn
        left -= int(drawn.sum())
        if left > 0:
            free = free - drawn
            more = free > 0
            active, alpha, free = active[more], alpha[more], free[more]
    return counts


def published_budgets(alphas: np.ndarray, total: int, most: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split `total` tokens over streams as 4M does (arXiv 2312.06647): what exceeds `most` of a stream is lost.

    Floor of a Dirichlet draw over all streams (concentrations at least 1e-9), the rest by argmax of further draws.
    """
    return np.minimum(_split(np.maximum(alphas, SMALLEST_ALPHA), total, rng), most)


def _split(alpha: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Floor of a Dirichlet draw times the total, and the rest one by one to the largest of a further draw each.

    A Dirichlet draw is one of gammas over their sum, so the largest of both is the same one. Where concentrations are
    so small that all of them underflow, everything is on one stream, as it is in the limit.
    """
    gammas = rng.standard_gamma(alpha)
    whole = float(gammas.sum())
    if not whole > 0:
        gammas[_one(alpha, 1, rng)] = whole = 1.0
    counts: np.ndarray = (gammas / whole * total).astype(np.int64)
    rest = total - int(counts.sum())
    if rest > 0:
        further = rng.standard_gamma(alpha, (rest, len(alpha)))
        winners = further.argmax(1)
        if alpha.max() < UNDERFLOWS and (none := ~further.any(1)).any():
            winners[none] = _one(alpha, int(none.sum()), rng)
        counts += np.bincount(winners, minlength=len(alpha))
    elif rest < 0:  # rounding
        counts[counts.argmax()] += rest
    return counts


def _one(alpha: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(alpha), count, p=alpha / alpha.sum())
