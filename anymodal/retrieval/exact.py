"""The nearest vectors, exactly: products of blocks in float32, merged into the best few, and a last look in float64.

Memory is bounded by the block, whatever the number of rows. What is found does not depend on how many are asked for at
once: the order of the best is decided by sums in float64, one by one. Shapes: Q queries, N rows of a block, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

BLOCK_BYTES = 8 * 1024**2  # of a block in float32
FEW = 0.25  # below that share of a block, rows are picked out rather than passed over
MARGIN = 8  # more than asked for are looked at again


class Best:
    """The best scores so far: `scores` (Q, keep) from the best down, and their `rows`, -1 where there is none."""

    def __init__(self, queries: int, keep: int) -> None:
        self.scores = np.full((queries, keep), -np.inf, np.float32)
        self.rows = np.full((queries, keep), -1, np.int64)

    def add(self, scores_QN: np.ndarray, rows_N: np.ndarray) -> None:
        """Look at the scores of more rows; of equal ones the first are kept."""
        keep = self.scores.shape[1]
        better = scores_QN > self.scores[:, -1:]
        for query in np.flatnonzero(better.any(1)):
            found = np.flatnonzero(better[query])
            scores = scores_QN[query, found]
            if len(found) > keep:
                near = scores >= np.partition(scores, -keep)[-keep]
                found, scores = found[near], scores[near]
            both = np.concatenate([self.scores[query], scores])
            rows = np.concatenate([self.rows[query], rows_N[found]])
            order = np.argsort(-both, kind="stable")[:keep]
            self.scores[query], self.rows[query] = both[order], rows[order]


def nearest(
    shards: Sequence[torch.Tensor], queries_QD: np.ndarray, top: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows with the largest dot products.

    Args:
        shards: float16 (rows, D) each; rows are counted through all of them.
        queries_QD: float32.
        top: how many, of each query.
        allowed: bool for each row, whether it may be found; all by default.

    Returns:
        Rows (Q, top) int64, -1 where there are no more, and their products (Q, top) float64, -inf there. Of equal
        products the first row comes first.
    """
    rows_total = sum(len(shard) for shard in shards)
    best = Best(len(queries_QD), min(top + MARGIN, max(rows_total, 1)))
    queries = torch.from_numpy(np.ascontiguousarray(queries_QD, np.float32))
    for block, rows, passed in _blocks(shards, allowed):
        scores = (queries @ block.T).numpy()
        if passed is not None:
            scores[:, ~passed] = -np.inf
        best.add(scores, rows)
    return _decided(shards, queries_QD, best.rows, top)


def _blocks(
    shards: Sequence[torch.Tensor], allowed: np.ndarray | None
) -> Iterator[tuple[torch.Tensor, np.ndarray, np.ndarray | None]]:
    """Blocks in float32 (valid until the next one), their rows, and which of these may be found (None: all)."""
    channels = shards[0].shape[1] if shards else 1
    size = max(1, BLOCK_BYTES // (4 * channels))
    buffer = torch.empty((size, channels), dtype=torch.float32)
    first = 0
    for shard in shards:
        for start in range(0, len(shard), size):
            part = shard[start : start + size]
            rows = np.arange(first + start, first + start + len(part))
            passed = None if allowed is None else allowed[rows[0] : rows[-1] + 1]
            if passed is not None and passed.mean() < FEW:
                picked = np.flatnonzero(passed)
                if not picked.size:
                    continue
                part, rows, passed = part[torch.from_numpy(picked)], rows[picked], None
            block = buffer[: len(part)]
            block.copy_(part)  # torch does in one step what takes numpy nine times as long as the product
            yield block, rows, passed
        first += len(shard)


def _decided(
    shards: Sequence[torch.Tensor], queries_QD: np.ndarray, rows_QK: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of candidates by their products in float64."""
    found = np.full((len(rows_QK), top), -1, np.int64)
    scores = np.full((len(rows_QK), top), -np.inf)
    for query, candidates in enumerate(rows_QK):
        rows = candidates[candidates >= 0]
        if not rows.size:
            continue
        products = (picked(shards, rows).astype(np.float64) * queries_QD[query].astype(np.float64)).sum(1)
        order = np.lexsort((rows, -products))[:top]
        found[query, : len(order)], scores[query, : len(order)] = rows[order], products[order]
    return found, scores


def picked(shards: Sequence[torch.Tensor], rows: np.ndarray) -> np.ndarray:
    """The vectors of rows (n,), counted through all shards: float16 (n, D)."""
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    where = np.searchsorted(starts, rows, side="right") - 1
    channels = shards[0].shape[1] if shards else 0
    vectors = np.zeros((len(rows), channels), np.float16)
    for number in np.unique(where):
        mine = where == number
        vectors[mine] = shards[number][torch.from_numpy(rows[mine] - starts[number])].numpy()
    return vectors
