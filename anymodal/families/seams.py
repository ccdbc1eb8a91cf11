"""Kept pixels in a generated picture, without a seam: the difference at the border spreads smoothly over the rest.

The correction is a membrane: harmonic where the picture is new, and the difference where it is kept (Poisson image
editing, Perez et al. 2003). The first pixels beside the border go over from a membrane of the kept values themselves,
for what is generated may have an edge of its own there. Shapes: (H, W, C) values, (H, W) masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

SWEEPS = 24  # of smoothing at each scale
NEAR = 3  # pixels beside the border that are no longer what was generated alone


def seamless(value: np.ndarray, made: np.ndarray, kept: np.ndarray, says: np.ndarray | None = None) -> np.ndarray:
    """`value` (H, W[, C]) where it is `kept` (H, W), exactly, and elsewhere `made`, changed so that it joins.

    What joins is what `says` something (H, W), everything by default, and is finite.
    """
    planes = np.atleast_3d(value).astype(np.float64), np.atleast_3d(made).astype(np.float64)
    known = kept & np.isfinite(planes[0]).all(-1) & np.isfinite(planes[1]).all(-1)
    known &= True if says is None else says
    if not known.any():
        joined = planes[1]
    else:
        difference = np.where(known[..., None], planes[0] - planes[1], 0.0)
        joined = planes[1] + membrane(difference, known)
        share = away_from(known, NEAR)[..., None] ** 2
        joined = share * joined + (1 - share) * membrane(np.where(known[..., None], planes[0], 0.0), known)
    joined = joined.reshape(value.shape)
    if value.dtype.kind in "ui":
        limits = np.iinfo(value.dtype)
        joined = np.rint(joined).clip(limits.min, limits.max)
    return pasted(value, joined.astype(value.dtype), kept)


def away_from(known: np.ndarray, reach: int) -> np.ndarray:
    """How far each place (H, W) is from a known one: 0 there, 1 beyond so many steps, evenly in between."""
    far, near = np.ones(known.shape), known
    for step in range(reach + 1):
        far[near] = np.minimum(far[near], step / (reach + 1))
        around = np.pad(near, 1)
        near = near | around[:-2, 1:-1] | around[2:, 1:-1] | around[1:-1, :-2] | around[1:-1, 2:]
    return far


def pasted(value: np.ndarray, made: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`value` (H, W[, C]) where it is `kept` (H, W), elsewhere `made`."""
    return np.where(kept if value.ndim == 2 else kept[..., None], value, made)


def membrane(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (H, W, C) that stay where they are `known`, and are elsewhere the mean of their neighbors, nearly."""
    if known.all():
        return values
    rows, columns = known.shape
    if min(rows, columns) <= 2:
        guess = np.broadcast_to(values[known].mean(0), values.shape)
    else:
        padded = [(0, rows % 2), (0, columns % 2)]
        weight = np.pad(known.astype(np.float64), padded)
        total = np.pad(np.where(known[..., None], values, 0.0), [*padded, (0, 0)])
        weight = weight.reshape(weight.shape[0] // 2, 2, -1, 2).sum((1, 3))
        total = total.reshape(total.shape[0] // 2, 2, -1, 2, total.shape[2]).sum((1, 3))
        coarse = membrane(total / np.maximum(weight, 1)[..., None], weight > 0)
        guess = coarse.repeat(2, 0).repeat(2, 1)[:rows, :columns]
    result = np.where(known[..., None], values, guess)
    for _ in range(SWEEPS):
        around = np.pad(result, [(1, 1), (1, 1), (0, 0)], mode="edge")
        smooth = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
        result = np.where(known[..., None], values, smooth)
    return result
