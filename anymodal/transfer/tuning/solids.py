"""Boxes in space, turned in any way: how much two overlap, and the average precision of such.

A box is its center (3,), its sizes (3,) along its own axes, and its rotation (3, 3), whose columns are these axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

THRESHOLDS = tuple(np.arange(5, 55, 5) / 100)  # of Omni3D (Brazil et al. 2023, arXiv 2207.10660)
LEVELS = np.linspace(0, 1, 101)  # of recall, as COCO has them
NEAR = 1e-9
SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))  # corners of each face


@attrs.frozen(eq=False)
class Solid:
    """An oriented box, in meters: see the module. `class_name` and `score` as for boxes of a picture."""

    center: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    class_name: str = ""
    score: float = 1.0

    @property
    def volume(self) -> float:
        """In cubic meters."""
        return float(np.prod(self.size))

    @property
    def corners(self) -> np.ndarray:
        """(8, 3)."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return self.center + (signs * self.size / 2) @ self.rotation.T


def overlap(one: Solid, other: Solid) -> float:
    """The volume that two boxes share over that of both together, exactly."""
    distance = float(np.linalg.norm(one.center - other.center))
    if 2 * distance >= float(np.linalg.norm(one.size) + np.linalg.norm(other.size)):
        return 0.0
    shared = min(shared_volume(one, other), one.volume, other.volume)
    return shared / (one.volume + other.volume - shared)


def shared_volume(one: Solid, other: Solid) -> float:
    """What is left of a box when it is cut by the six planes of another one (Sutherland and Hodgman 1974)."""
    corners = one.corners
    faces = [corners[list(side)] for side in SIDES]
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = sign * other.rotation[:, axis]
            faces = _cut(faces, normal, float(normal @ other.center) + other.size[axis] / 2)
            if len(faces) < 4:
                return 0.0
    return _volume(faces)


def _cut(faces: list[np.ndarray], normal: np.ndarray, reach: float) -> list[np.ndarray]:
    """The faces of a convex solid on the side of a plane where normal @ x <= reach, and the one that closes it."""
    left, border = [], []
    for face in faces:
        beyond = face @ normal - reach
        kept = []
        for k in range(len(face)):
            here, after = beyond[k], beyond[(k + 1) % len(face)]
            if here <= NEAR:
                kept.append(face[k])
            if (here > NEAR) != (after > NEAR):
                crossing = face[k] + (face[(k + 1) % len(face)] - face[k]) * here / (here - after)
                kept.append(crossing)
                border.append(crossing)
        if len(kept) >= 3:
            left.append(np.array(kept))
    if len(border) >= 3:
        left.append(_around(np.array(border), normal))
    return left


def _around(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Points of a plane in the order in which they stand around their middle."""
    spokes = points - points.mean(0)
    first = spokes[np.linalg.norm(spokes, axis=1).argmax()]
    angle = np.arctan2(spokes @ np.cross(normal, first), spokes @ first)
    return points[np.argsort(angle)]


def _volume(faces: Sequence[np.ndarray]) -> float:
    """The volume of a convex solid: pyramids from a point inside over its faces, whatever way these turn."""
    inside = np.concatenate(faces).mean(0)
    total = 0.0
    for face in faces:
        spokes = face - inside
        area = np.zeros(3)
        for k in range(1, len(face) - 1):
            area += np.cross(spokes[k] - spokes[0], spokes[k + 1] - spokes[0])
        length = float(np.linalg.norm(area))
        if length > NEAR**2:
            total += abs(float(spokes[0] @ area)) / 6
    return total


def average_precision(predictions: Sequence[Sequence[Solid]], truths: Sequence[Sequence[Solid]]) -> dict[str, float]:
    """AP3D: the mean over classes of the truth and over overlaps of 0.05 to 0.5, by 0.05; and those at 0.15 and 0.25.

    Of each threshold, predictions take their truths in the order of their scores, over all samples.
    """
    names = sorted({solid.class_name for sample in truths for solid in sample})
    table = np.array([_of_class(name, predictions, truths) for name in names]).reshape(-1, len(THRESHOLDS))
    if not len(table):
        return {}
    means = table.mean(0)
    at = {round(threshold, 2): float(mean) for threshold, mean in zip(THRESHOLDS, means, strict=True)}
    return {"ap3d": float(means.mean()), "ap3d_15": at[0.15], "ap3d_25": at[0.25]}


def _of_class(name: str, predictions: Sequence[Sequence[Solid]], truths: Sequence[Sequence[Solid]]) -> list[float]:
    """The precision of one class by threshold, averaged over 101 levels of recall."""
    wanted = [[solid for solid in sample if solid.class_name == name] for sample in truths]
    said = [(solid, k) for k, sample in enumerate(predictions) for solid in sample if solid.class_name == name]
    said.sort(key=lambda pair: -pair[0].score)
    overlaps = [np.array([overlap(solid, other) for other in wanted[k]]) for solid, k in said]
    return [_precision(said, overlaps, wanted, threshold) for threshold in THRESHOLDS]


def _precision(
    said: Sequence[tuple[Solid, int]], overlaps: Sequence[np.ndarray], wanted: Sequence[Sequence[Solid]], least: float
) -> float:
    taken = [np.zeros(len(sample), bool) for sample in wanted]
    hits = np.zeros(len(said), bool)
    for number, ((_, k), shares) in enumerate(zip(said, overlaps, strict=True)):
        free = np.where(taken[k], -1.0, shares) if len(shares) else shares
        if len(free) and free.max() >= least:
            taken[k][free.argmax()] = hits[number] = True
    recall = hits.cumsum() / max(sum(map(len, wanted)), 1)
    precision = hits.cumsum() / np.arange(1, len(said) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, LEVELS - NEAR)
    return float(np.mean([best[place] if place < len(best) else 0.0 for place in places]))
