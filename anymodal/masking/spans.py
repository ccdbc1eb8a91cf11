"""Span masking: hidden runs of a sequence become sentinels, and the target says what they stand for.

A `keep` says how much stays visible: 'random' (a uniform share), 'all', 'none', or 'binary' (all or nothing by a coin).
"""

from __future__ import annotations

import numpy as np

from anymodal.spaces import TokenSpace


def hide_spans(ids: np.ndarray, visible: np.ndarray, space: TokenSpace) -> tuple[np.ndarray, np.ndarray]:
    """Span masking: each run of hidden tokens becomes the next sentinel, from [S_1] on.

    Returns the input (visible tokens and sentinels) and the target ([S_k] and its tokens, span by span, closed by one
    more sentinel). Spans beyond the last sentinel stay visible.
    """
    read, said, _ = _spans(ids, visible, space)
    return read, said


def _spans(ids: np.ndarray, visible: np.ndarray | None, space: TokenSpace) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """As `hide_spans`, and where in the target its sentinels are; None hides everything."""
    assert space.sentinels is not None
    mark = space.sentinels[0] + 1
    last = mark + space.sentinels[1] - 2
    if visible is None and mark < last and len(ids):  # by far the most common case: a sequence that is a target alone
        said_whole = np.empty(len(ids) + 2, np.int64)
        said_whole[0], said_whole[1:-1], said_whole[-1] = mark, ids, mark + 1
        return np.array([mark], np.int64), said_whole, [0, len(ids) + 1]
    read: list[int] = []
    said: list[int] = []
    starts: list[int] = []
    within = False
    shares = [False] * len(ids) if visible is None else visible.tolist()
    for token, shown in zip(ids.tolist(), shares, strict=True):  # faster than arrays up to 250 tokens or so
        if shown or (mark == last and not within):
            read.append(token)
            within = False
            continue
        if not within:
            starts.append(len(said))
            read.append(mark)
            said.append(mark)
            mark += 1
            within = True
        said.append(token)
    starts.append(len(said))
    said.append(mark)
    return np.array(read, np.int64), np.array(said, np.int64), starts


def merge_spans(read: np.ndarray, said: np.ndarray, space: TokenSpace) -> np.ndarray:
    """The sequence whose hidden spans are filled in again; sentinels without a span vanish (inverse of hide_spans)."""
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token, mark in zip(said.tolist(), space.is_sentinel(said), strict=True):
        if mark:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    merged: list[int] = []
    for token, mark in zip(read.tolist(), space.is_sentinel(read), strict=True):
        merged += spans.get(token, []) if mark else [token]
    return np.asarray(merged, np.int64)


def chunk_sizes(ids: np.ndarray, size: int, space: TokenSpace) -> np.ndarray:
    """Numbers of tokens (chunks,) that are hidden together: `size` each, fewer before the end mark, and that alone.

    They may sum to less than the ids: a chunk that was cut off, where there is no end mark, is left out.
    """
    closed = bool(len(ids)) and int(ids[-1]) == space.end
    count, rest = divmod(len(ids) - closed, size)
    return np.array([size] * count + [rest] * (closed and rest > 0) + [1] * closed, np.int64)


def whole_chunks(sizes: np.ndarray, length: int) -> np.ndarray:
    """The first chunks (sizes in tokens) that fit into `length` tokens."""
    return sizes[np.cumsum(sizes) <= length]


def select_sequence(
    ids: np.ndarray,
    inputs: int,
    targets: int | None,
    keep: str,
    space: TokenSpace,
    rng: np.random.Generator,
    chunks: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Input and target ids of one sequence within its budgets (4M, arXiv 2312.06647, span masking).

    While the input is longer than its budget the share of visible tokens shrinks by a tenth and is drawn anew; a target
    that is too long is cut from a random sentinel on (None: never). `chunks` are numbers of tokens that are hidden
    together; ids beyond their sum are left out.
    """
    count = len(ids) if chunks is None else len(chunks)
    ids, share = ids if chunks is None else ids[: chunks.sum()], _share(keep, rng) if inputs else 0.0
    while True:
        shown = int(rng.binomial(count, share))
        if shown <= (inputs or count):  # where they are too many, which they are need not be drawn
            visible = _places(count, shown, rng) if shown else None
            if visible is not None and chunks is not None:
                visible = np.repeat(visible, chunks)
            read, said, starts = _spans(ids, visible, space)
            if not inputs or len(read) <= inputs:
                break
        share *= 0.9
    read = read if inputs else read[:0]
    return read, said if targets is None else _cut_target(said, starts, targets, rng)


def _visible(count: int, share: float, most: int, rng: np.random.Generator) -> np.ndarray | None:
    """Which of `count` tokens are visible, each with the chance `share`; None if they are more than `most`."""
    shown = int(rng.binomial(count, share))
    return _places(count, shown, rng) if shown <= most else None


def _places(count: int, shown: int, rng: np.random.Generator) -> np.ndarray:
    """Which of `count` tokens are visible if `shown` are."""
    if shown == count:
        return np.ones(count, bool)
    visible = np.zeros(count, bool)
    if shown:
        visible[rng.permutation(count)[:shown]] = True
    return visible


def select_rows(rows: np.ndarray, inputs: int, keep: str, rng: np.random.Generator) -> np.ndarray:
    """Input rows (n, width) of a sequence of vectors: each hidden run becomes one row of zeros; none for no budget."""
    if not inputs:
        return rows[:0]
    share = _share(keep, rng)
    while True:
        visible = _visible(len(rows), share, inputs, rng)
        if visible is not None:
            shown = visible | np.concatenate([[True], visible[:-1]])[: len(rows)]
            if np.count_nonzero(shown) <= inputs:
                return np.where(visible[:, None], rows, 0)[shown]
        share *= 0.9


def _share(keep: str, rng: np.random.Generator) -> float:
    """How large a share of a sequence stays visible."""
    if keep == "random":
        return rng.random()
    return float(keep == "all") if keep != "binary" else float(rng.random() < 0.5)


def _cut_target(said: np.ndarray, starts: list[int], budget: int, rng: np.random.Generator) -> np.ndarray:
    """A target within its budget, from one of its sentinels (which are at `starts`) on."""
    if len(said) <= budget:
        return said
    start = starts[int(rng.random() * max(1, len(starts) - 1))]
    if len(said) - start < budget:
        start = next(s for s in starts if len(said) - s <= budget)
    return said[start : start + budget]
