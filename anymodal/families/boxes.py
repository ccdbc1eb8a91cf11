"""Boxes in a picture: how they move with a crop, how much they overlap, and what they are drawn on.

A box is (xmin, ymin, xmax, ymax) in fractions of the picture's width and height, origin at the top left.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.crops import Crop
from anymodal.families.drawing import paper

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np


@attrs.frozen
class LabeledBox:
    """A box (xmin, ymin, xmax, ymax) in fractions of the picture, what is in it, and how sure that is."""

    label: str
    corners: tuple[float, float, float, float]
    score: float = 1.0


def crop_points(points: np.ndarray, crop: Crop) -> np.ndarray:
    """Points (..., 2) as fractions of the crop; outside of it they lie outside 0 to 1."""
    moved = (points - np.array([crop.left, crop.top])) / np.array([crop.width, crop.height])
    return np.stack([1 - moved[..., 0], moved[..., 1]], -1) if crop.flip else moved


def crop_box(box: Sequence[float], crop: Crop) -> tuple[float, float, float, float]:
    """The box as fractions of the crop, which may reach out of it; mirrored with it."""
    (x0, y0), (x1, y1) = crop_points(np.array(box, np.float64).reshape(2, 2), crop).tolist()
    return min(x0, x1), y0, max(x0, x1), y1


def clip_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The part of a box inside the picture."""
    x0, y0, x1, y1 = (min(max(v, 0.0), 1.0) for v in box)
    return x0, y0, x1, y1


def box_iou(a: Any, b: Any) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4); 0 where both are empty."""
    a, b = (np.asarray(x, np.float64).reshape(-1, 4) for x in (a, b))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = (high - low).clip(0).prod(-1)
    sizes = [(x[:, 2:] - x[:, :2]).clip(0).prod(-1) for x in (a, b)]
    union = sizes[0][:, None] + sizes[1][None] - inside
    return np.where(union > 0, inside / np.maximum(union, 1e-12), 0.0)


def match(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of an overlap matrix (n, m), the greatest first, each row and column once; none of 0."""
    left = overlaps.astype(np.float64, copy=True)
    pairs = []
    while left.size and left.max() > 0:
        row, column = np.unravel_index(left.argmax(), left.shape)
        pairs.append((int(row), int(column)))
        left[row], left[:, column] = 0, 0
    return pairs


def bright(key: str | int) -> tuple[int, int, int]:
    """A strong color that belongs to a name or a number for good."""
    hue = key * 0.61803398875 if isinstance(key, int) else zlib.crc32(key.encode()) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def backdrop(size: int, picture: np.ndarray | None = None, light: float = 1.0) -> Image:
    """The square to draw on: a picture (H, W, 3) uint8, darkened to `light` of its brightness, or plain paper."""
    from PIL import Image

    if picture is None:
        return paper(size)
    darker = (np.asarray(picture, np.float32) * light).round().astype(np.uint8)
    return Image.fromarray(darker).resize((size, size), Image.Resampling.BICUBIC)
