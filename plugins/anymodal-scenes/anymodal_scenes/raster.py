"""From triangles to samples: which face each sample sees and how near it is, in exact integer arithmetic.

Vertices are snapped to 1/256 pixel and inverse depths to 2**-26 per meter before anything is compared, so that machines
agree on every label. A triangle is cut into rows; integer edge functions give the first and last sample of each row.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

FIXED = 256
"""Steps per pixel of projected coordinates."""
INVERSE = 1 << 26
"""Steps per 1/meter of inverse depth."""
NEAR = 0.2
"""Meters before the eye at which triangles are clipped."""
_FACE_BITS = 18

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@attrs.frozen
class Grid:
    """A square grid of samples: sample k of a row or column lies at `start + k * step`, in 1/256 pixel."""

    start: int
    step: int
    count: int

    @classmethod
    def centers(cls, size: int) -> Grid:
        """One sample in the middle of each pixel."""
        return cls(FIXED // 2, FIXED, size)

    @classmethod
    def halves(cls, size: int) -> Grid:
        """Samples on all corners, edges and middles of pixels; the middles are the odd ones."""
        return cls(0, FIXED // 2, 2 * size + 1)

    @property
    def ticks(self) -> Ints:
        """Coordinates of the samples along one axis."""
        return self.start + self.step * np.arange(self.count, dtype=np.int64)


def clip(depth: Floats, faces: Ints) -> tuple[Ints, Ints, Floats, Ints]:
    """Cut away what lies nearer than `NEAR`, given the depth of each vertex (V,) and faces (F, 3).

    Returns the new faces, for each of them the old face it is part of, and the vertices to append after the old ones:
    each at `(1 - t) * a + t * b` of an edge, as shares t (E,) and edges (E, 2).
    """
    inside = depth[faces] >= NEAR
    total = inside[:, 0].astype(np.int64) + inside[:, 1] + inside[:, 2]
    whole = np.flatnonzero(total == 3)
    cut = np.flatnonzero((total == 1) | (total == 2))
    if not len(cut):
        return faces[whole], whole, np.empty(0), np.empty((0, 2), np.int64)
    lonely = np.where(total[cut] == 1, inside[cut].argmax(1), (~inside[cut]).argmax(1))
    a, b, c = (faces[cut, (lonely + k) % 3] for k in range(3))  # `a` is alone on its side of the plane
    edges = np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)])
    near, far = depth[edges[:, 0]], depth[edges[:, 1]]
    share = (NEAR - near) / (far - near)
    ab = len(depth) + np.arange(len(cut))
    ac = ab + len(cut)
    tip = total[cut] == 1
    rest = ~tip
    parts = [np.stack([a, ab, ac], 1)[tip], np.stack([ab, b, c], 1)[rest], np.stack([ab, c, ac], 1)[rest]]
    return (
        np.concatenate([faces[whole], *parts]),
        np.concatenate([whole, cut[tip], cut[rest], cut[rest]]),
        share,
        edges,
    )


def _spread(counts: Ints) -> tuple[Ints, Ints]:
    """For runs of the given lengths: the run of each element and its place within the run."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def raster(xy: Ints, inverse: Ints, faces: Ints, grid: Grid) -> tuple[Ints, Ints]:
    """The nearest front face at each sample.

    Args:
        xy: (V, 2) vertices in 1/256 pixel, x to the right and y down.
        inverse: (V,) inverse depths in 2**-26 per meter, positive.
        faces: (F, 3) vertex numbers, counter-clockwise seen from outside; back faces are left out.
        grid: the samples, N by N.

    Returns the face of each sample (N * N,), -1 where there is none, and its inverse depth (N * N,), 0 where none.
    """
    n = grid.count
    x, y = xy[:, 0][faces.T], xy[:, 1][faces.T]
    area = (x[2] - x[0]) * (y[1] - y[0]) - (x[1] - x[0]) * (y[2] - y[0])
    top = np.maximum(-((grid.start - y.min(0)) // grid.step), 0)
    rows = np.minimum((y.max(0) - grid.start) // grid.step, n - 1) - top + 1
    last = grid.start + grid.step * (n - 1)
    keep = np.flatnonzero((area > 0) & (rows > 0) & (x.max(0) >= grid.start) & (x.min(0) <= last))
    x, y, area, top = x[:, keep], y[:, keep], area[keep], top[keep]

    face, row = _spread(rows[keep])
    row += top[face]
    height = grid.start + grid.step * row
    first, final = np.zeros(len(face), np.int64), np.full(len(face), n - 1, np.int64)
    for i, j in ((0, 1), (1, 2), (2, 0)):  # inside where slope * k + offset >= 0, for sample k of the row
        dx, dy = x[j] - x[i], y[j] - y[i]
        slope = (dy * grid.step)[face]
        offset = (dy * (grid.start - x[i]))[face] - dx[face] * (height - y[i][face])
        bound = -offset // np.where(slope == 0, 1, slope)
        first = np.where(slope > 0, np.maximum(first, -(offset // np.where(slope > 0, slope, 1))), first)
        final = np.where(slope < 0, np.minimum(final, bound), final)
        final = np.where((slope == 0) & (offset < 0), -1, final)
    spans = np.flatnonzero(final >= first)
    face, row, height, first = face[spans], row[spans], height[spans], first[spans]

    z = inverse[faces[keep].T].astype(np.float64)
    x0, y0, z0 = x[0].astype(np.float64), y[0].astype(np.float64), z[0]
    z1, z2, scale = z[1] - z0, z[2] - z0, 1.0 / area
    across = (z2 * (y[1] - y[0]) - z1 * (y[2] - y[0])) * scale
    down = (z1 * (x[2] - x[0]) - z2 * (x[1] - x[0])) * scale
    begin = z0[face] + across[face] * (grid.start + grid.step * first - x0[face]) + down[face] * (height - y0[face])
    stride = across[face] * grid.step
    origin = row * n + first
    rank = (1 << _FACE_BITS) - 1 - keep[face]

    span, place = _spread(final[spans] - first + 1)
    near = (begin[span] + stride[span] * place).astype(np.int64)
    nearest = np.zeros(n * n, np.int64)
    np.maximum.at(nearest, origin[span] + place, (near << _FACE_BITS) | rank[span])
    seen = nearest > 0
    winner = np.where(seen, (1 << _FACE_BITS) - 1 - (nearest & ((1 << _FACE_BITS) - 1)), -1)
    return winner, nearest >> _FACE_BITS


def shares(xy: Ints, inverse: Ints, corners: Ints, x: Ints, y: Ints) -> NDArray[np.float32]:
    """Perspective-correct shares (3, n) of the corners (3, n) of the faces seen at samples x (n,), y (n,)."""
    dx = (xy[:, 0][corners] - x).astype(np.float64)
    dy = (xy[:, 1][corners] - y).astype(np.float64)
    weights = np.stack([dx[i] * dy[j] - dx[j] * dy[i] for i, j in ((2, 1), (0, 2), (1, 0))]) * inverse[corners]
    return (weights / (weights[0] + weights[1] + weights[2])).astype(np.float32)
