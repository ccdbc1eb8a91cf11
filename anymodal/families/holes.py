"""Places without a value: they take that of a neighbor before a network sees them, which then learns no hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


def filled_holes(values: np.ndarray, known: np.ndarray, otherwise: float) -> np.ndarray:
    """Values (H, W) in which each place that is not `known` (H, W) has that of the nearest one in its row.

    Rows without any take those of the nearest row that has some; without any at all, everything is `otherwise`.
    """
    if known.all():
        return values
    if not known.any():
        return np.full_like(values, otherwise)
    rows: np.ndarray = np.any(known, axis=1)
    columns = _nearest(known)
    filled = np.take_along_axis(values, columns, 1)
    return filled[_nearest(rows[None])[0]]


def _nearest(known: np.ndarray) -> np.ndarray:
    """The index (N, M) of the nearest known place in each line of bool (N, M), the left of equals; 0 in empty lines."""
    place = np.broadcast_to(np.arange(known.shape[1]), known.shape)
    last = known.shape[1] - 1
    left = np.maximum.accumulate(np.where(known, place, -1), 1)
    right = np.minimum.accumulate(np.where(known, place, last + 1)[:, ::-1], 1)[:, ::-1]
    use_left = (left >= 0) & ((right > last) | (place - left <= right - place))
    return np.where(use_left, left, right).clip(0, last)
