"""Arrays of pictures as other programs lay them out: taken where only one meaning is possible.

Elsewhere `repair` has the line of code that says what is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


def channels_last(array: np.ndarray, channels: int) -> np.ndarray:
    """The array (H, W, channels), or (H, W) for one channel, where it may be nothing else; else the array itself.

    The first axis is that of the channels if it has as many and the last one has not, nor 1 or 4 as other pictures do.
    """
    if array.ndim != 3 or array.shape[2] == channels:
        return array[..., 0] if array.ndim == 3 and channels == 1 else array
    if array.shape[0] != channels or array.shape[2] in (1, 3, 4):
        return array
    return array[0] if channels == 1 else np.moveaxis(array, 0, 2)


def as_colors(array: np.ndarray) -> np.ndarray:
    """Samples of a photograph as (H, W, 3), or (H, W, 4) with transparency; gray has three equal channels."""
    array = channels_last(array, 3)
    if array.ndim == 3 and array.shape[0] == 4 and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = channels_last(array, 1)
    return np.repeat(array[..., None], 3, 2) if array.ndim == 2 else array


def as_samples(array: np.ndarray) -> np.ndarray:
    """Floats from 0 to 1 as uint8; what has other numbers, or not a float type, as it is."""
    if array.dtype.kind != "f" or not array.size or not (array.min() >= 0 and array.max() <= 1):  # NaN is neither
        return array
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def repair(array: np.ndarray, channels: int, uint8: bool) -> str:
    """The line of code that makes an array what a modality of pictures takes, or "" where none is known."""
    shape = array.shape
    if array.ndim == 4:
        return "value[0]" if shape[0] == 1 else "one picture at a time, such as value[0]"
    if array.ndim == 3 and shape[0] in (channels, 4) and shape[2] != channels:
        return "value.transpose(1, 2, 0)"
    if array.ndim == 3 and shape[2] == 4 and channels == 3:
        return "value[..., :3]"
    if array.ndim == 3 and channels == 1 and shape[2] in (3, 4):
        return "value[..., 0]"
    if array.ndim == 2 and channels > 1:
        return f"numpy.repeat(value[..., None], {channels}, axis=2)"
    fits = array.ndim == (2 if channels == 1 else 3)
    if fits and uint8 and array.dtype.kind == "f" and array.size and np.isfinite(array).all():
        low, high = float(array.min()), float(array.max())
        if low >= 0:
            return "value.round().astype('uint8')" if high <= 255 else "(value / value.max() * 255).astype('uint8')"
        return "((value + 1) / 2).clip(0, 1)"
    if fits and uint8 and array.dtype.kind in "iu" and array.size and array.min() >= 0:
        return "(value // 257).astype('uint8')" if array.max() > 4095 else ""
    return ""
