"""Outlines: polygons (n, 2) of x and y in fractions of a picture, how they are filled, traced and cut; and instances
that have some.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

FINE = 256  # outlines of a map are traced at about this many pixels a side
SCORED = 128  # pixels a side at which overlaps are measured
HELD = 0.35  # of the instances of several draws, by more of which a pixel is held


@attrs.frozen(eq=False)
class Instance:
    """One instance: its outlines, arrays (n, 2) of x and y in fractions of the picture, one for each piece of it.

    `codes` (16,) are there where its mask has been tokenized.
    """

    outlines: "tuple[np.ndarray, ...]"
    codes: "np.ndarray | None" = None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) in fractions of the picture."""
        points = np.concatenate(self.outlines)
        low, high = points.min(0).tolist(), points.max(0).tolist()
        return low[0], low[1], high[0], high[1]

    def pixels(self, width: int, height: int, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> "np.ndarray":
        """Which pixels of the picture, or of a part of it, belong to the instance: bool (height, width)."""
        return filled(self.outlines, width, height, box)

    @property
    def mask(self) -> "np.ndarray":
        """The instance in a picture of 224 x 224 pixels, bool."""
        return self.pixels(224, 224)


class Asked(Instance):
    """An instance of which nothing but the box is known, for which its outline stands."""

    @classmethod
    def of(cls, box: Sequence[float]) -> "Asked":
        """The one in a box (xmin, ymin, xmax, ymax)."""
        x0, y0, x1, y1 = box
        return cls((np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64),))


def filled(outlines: Any, width: int, height: int, box: tuple[float, float, float, float]) -> "np.ndarray":
    """Which of width x height pixels of `box` have their center inside one of the outlines: bool (height, width)."""
    x0, y0, x1, y1 = box
    scale = np.array([width / max(x1 - x0, 1e-9), height / max(y1 - y0, 1e-9)])
    masks = [_inside((outline - np.array([x0, y0])) * scale, width, height) for outline in outlines]
    return np.logical_or.reduce(masks)


def _inside(points: "np.ndarray", width: int, height: int) -> "np.ndarray":
    """The even-odd rule: a pixel is inside if a row's edges cross left of its center an odd number of times."""
    starts, ends, rows = points, np.roll(points, -1, 0), np.arange(height) + 0.5
    crossed = (starts[:, 1, None] <= rows) != (ends[:, 1, None] <= rows)
    edge, row = np.nonzero(crossed)
    (ax, ay), (bx, by) = starts[edge].T, ends[edge].T
    across = ax + (rows[row] - ay) / (by - ay) * (bx - ax)
    toggles = np.zeros((height, width + 1), np.int64)
    np.add.at(toggles, (row, np.ceil(across - 0.5).clip(0, width).astype(np.int64)), 1)
    return toggles.cumsum(1)[:, :width] % 2 == 1


def traced(mask: "np.ndarray") -> "tuple[np.ndarray, ...]":
    """The outer outlines (n, 2) of a mask (H, W), in fractions of it; holes and pieces without an area are left out."""
    import cv2

    grow = max(2, -(-FINE // max(mask.shape)))
    large = mask.repeat(grow, 0).repeat(grow, 1)
    contours, _ = cv2.findContours(large.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    size = np.array(large.shape[::-1], np.float64)
    pieces = [(c[:, 0].astype(np.float64) + 0.5) / size for c in contours if len(c) > 2]
    return tuple(sorted((p for p in pieces if polygon_area(p) > 0), key=polygon_area, reverse=True))


def polygon_area(points: "np.ndarray") -> float:
    """Area of a polygon (n, 2) (the shoelace formula)."""
    x, y = points.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def clipped(points: "np.ndarray") -> "np.ndarray":
    """The part of a polygon (n, 2) inside the unit square (Sutherland and Hodgman 1974)."""
    for axis, limit, sign in ((0, 0.0, 1.0), (0, 1.0, -1.0), (1, 0.0, 1.0), (1, 1.0, -1.0)):
        kept: list[np.ndarray] = []
        for start, end in zip(np.roll(points, 1, 0), points, strict=True):
            before, after = sign * (start[axis] - limit), sign * (end[axis] - limit)
            if (before >= 0) != (after >= 0):
                kept.append(start + (end - start) * (before / (before - after)))
            if after >= 0:
                kept.append(end)
        points = np.array(kept, np.float64).reshape(-1, 2)
    return points.clip(0, 1)


def flat(instances: Sequence[Instance]) -> "np.ndarray":
    """Masks as rows (n, pixels) of 0 and 1."""
    rows = [i.pixels(SCORED, SCORED).ravel() for i in instances]
    return np.array(rows, np.float32).reshape(len(rows), SCORED * SCORED)


def agreed(instances: Sequence[Instance]) -> Instance | None:
    """What enough of several instances hold, pixel by pixel; None if that is nothing, and one as it is.

    Enough is less than half: the mask of the greatest expected overlap holds what is believed by more than
    overlap / (1 + overlap), as with F1 (Lipton et al. 2014), and draws overlap the truth by 0.5 to 0.6.
    """
    if len(instances) == 1:
        return instances[0]
    outlines = traced(flat(instances).mean(0).reshape(SCORED, SCORED) > HELD)
    return Instance(outlines) if outlines else None


def area(instance: Instance) -> float:
    """Share of the picture that the outlines enclose."""
    return sum(map(polygon_area, instance.outlines))


def contains(instance: Instance, point: tuple[int, int], size: int) -> bool:
    """Whether a point (x, y), in pixels of a picture of `size`, lies in an instance or on its edge."""
    import cv2

    place = (float(point[0]), float(point[1]))
    shapes = ((o * size).round(3).astype(np.float32)[:, None] for o in instance.outlines)
    return any(cv2.pointPolygonTest(shape, place, False) >= 0 for shape in shapes)


def inner_point(instance: Instance, size: int) -> tuple[int, int]:
    """The pixel (x, y) of an instance that is farthest from its edge."""
    import cv2

    mask = np.pad(instance.pixels(size, size).astype(np.uint8), 1)
    row, column = np.unravel_index(cv2.distanceTransform(mask, cv2.DIST_L2, 5).argmax(), mask.shape)
    return min(max(int(column) - 1, 0), size - 1), min(max(int(row) - 1, 0), size - 1)
