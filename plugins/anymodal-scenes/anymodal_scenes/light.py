"""The light of a scene: sun or moon, sky, lamps and shadows."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from .meshes import Mesh, about_y, dot, turned
from .raster import FIXED, Grid, raster
from .rng import Stream

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
SHADOW_SIZE = 128


@attrs.frozen(eq=False)
class Lamp:
    """A warm light at a point, which casts no shadows of its own."""

    position: Floats  # (3,), in the world
    reach: float  # meters at which it is half as bright

    def shed(self, points: Floats32, normals: Floats32) -> Floats32:
        """Light (3, n) on surfaces at points (3, n) with unit normals (3, n)."""
        away = self.position.astype(np.float32)[:, None] - points
        square = dot(away, away)
        bright = np.maximum(dot(away, normals), 0) / np.sqrt(square)
        bright /= 1 + square / np.float32(self.reach**2)
        return _WARM.astype(np.float32)[:, None] * bright


@attrs.frozen(eq=False)
class Light:
    """Directional light plus light from above and below; colors are linear and may exceed 1."""

    name: str
    towards: Floats  # (3,), unit, from the scene to the sun
    sun: Floats  # (3,)
    above: Floats  # (3,), ambient on surfaces that face up
    below: Floats  # (3,), ambient on surfaces that face down
    zenith: Floats  # (3,), color of the sky
    horizon: Floats  # (3,)
    clouds: float = 0.0
    lamp: Lamp | None = None

    @property
    def dark(self) -> bool:
        """Whether windows are lit."""
        return self.name in ("dusk", "night")


@attrs.frozen
class _Mood:
    """Linear colors and the range of the sun's height in radians."""

    height: tuple[float, float]
    sun: tuple[float, float, float]
    above: tuple[float, float, float]
    below: tuple[float, float, float]
    zenith: tuple[float, float, float] = (0.0, 0.0, 0.0)
    horizon: tuple[float, float, float] = (0.0, 0.0, 0.0)
    clouds: float = 0.0


_OUTDOORS = {
    "noon": _Mood(
        (0.75, 1.2), (0.82, 0.79, 0.73), (0.38, 0.41, 0.47), (0.2, 0.2, 0.18), (0.1, 0.3, 0.78), (0.55, 0.74, 0.92), 0.5
    ),
    "overcast": _Mood(
        (0.9, 1.3), (0.24, 0.24, 0.25), (0.66, 0.68, 0.71), (0.34, 0.34, 0.34), (0.44, 0.48, 0.54), (0.66, 0.69, 0.72),
        0.25,
    ),
    "evening": _Mood(
        (0.22, 0.4), (0.9, 0.69, 0.45), (0.42, 0.41, 0.47), (0.24, 0.22, 0.22), (0.16, 0.17, 0.42), (0.95, 0.5, 0.2),
        0.6,
    ),
    "morning": _Mood(
        (0.35, 0.6), (0.86, 0.76, 0.6), (0.4, 0.43, 0.49), (0.22, 0.2, 0.18), (0.22, 0.42, 0.78), (0.92, 0.8, 0.66),
        0.45,
    ),
    "dusk": _Mood(
        (0.3, 0.5), (0.2, 0.15, 0.17), (0.25, 0.29, 0.43), (0.14, 0.14, 0.19), (0.02, 0.05, 0.22), (0.56, 0.31, 0.24),
    ),
    "night": _Mood(
        (0.5, 0.9), (0.1, 0.13, 0.2), (0.1, 0.125, 0.2), (0.06, 0.07, 0.1), (0.003, 0.006, 0.03), (0.022, 0.035, 0.09),
    ),
}  # fmt: skip
_ROOM = {
    "daylight": _Mood((0.7, 1.1), (0.62, 0.61, 0.58), (0.52, 0.53, 0.55), (0.36, 0.35, 0.33)),
    "lamplight": _Mood((0.95, 1.35), (0.68, 0.58, 0.43), (0.48, 0.44, 0.38), (0.33, 0.3, 0.26)),
    "evening": _Mood((0.35, 0.55), (0.82, 0.58, 0.36), (0.42, 0.4, 0.42), (0.3, 0.28, 0.28)),
    "night": _Mood((0.95, 1.35), (0.16, 0.12, 0.07), (0.13, 0.115, 0.105), (0.09, 0.08, 0.075)),
}
_WARM = np.array([0.95, 0.68, 0.36])


def lighting(draw: Stream, place: str, yaw: float, corners: Floats) -> Light:
    """Light for a place; the sun stands behind or beside the viewer, who is at `yaw` radians.

    At night a lamp hangs above the things with the given corners (n, 3) or, outdoors, stands beside them.
    """
    azimuth = yaw + draw.uniform(-1.25, 1.25)
    if place == "room":
        moods, weights = _ROOM, {"daylight": 0.55, "lamplight": 0.23, "evening": 0.14, "night": 0.08}
    else:
        moods, weights = _OUTDOORS, dict(zip(_OUTDOORS, (0.32, 0.16, 0.14, 0.14, 0.16, 0.08), strict=True))
    name = draw.weigh(weights)
    mood = moods[name]
    angle = draw.uniform(*mood.height)
    towards = np.array([np.cos(angle) * np.sin(azimuth), np.sin(angle), np.cos(angle) * np.cos(azimuth)])
    sun, above, below, zenith, horizon = map(np.array, (mood.sun, mood.above, mood.below, mood.zenith, mood.horizon))
    clouds = mood.clouds * draw.random()
    lamp = _lamp(draw, place, yaw, corners) if name == "night" else None
    return Light(name, towards, sun, above, below, zenith, horizon, clouds, lamp)


def _lamp(draw: Stream, place: str, yaw: float, corners: Floats) -> Lamp:
    """A lamp under the ceiling, or on a post beside the things."""
    facing = turned(corners, about_y(-yaw))
    low, high = facing.min(0), facing.max(0)
    middle, reach = (low + high) / 2, 2.0 + 0.5 * float(np.hypot(*(high - low)[[0, 2]]))
    if place == "room":
        at = (middle[0] + draw.uniform(-0.4, 0.4), max(2.0, high[1] + 0.25), high[2] + draw.uniform(-0.3, 0.3))
    else:
        side = low[0] - 0.7 if draw.chance(0.5) else high[0] + 0.7
        at = (side, max(2.8, 0.9 * high[1]), high[2] - draw.uniform(0.0, 0.4) * (high[2] - low[2]))
    return Lamp(turned(np.array([at]), about_y(yaw))[0], reach)


@attrs.frozen(eq=False)
class Shadows:
    """A map of what the sun sees first."""

    axes: Floats  # (3, 3): right, up, towards the light
    corner: Floats  # (2,), world units of the first cell
    scale: float  # cells per meter
    heights: Floats32  # (SHADOW_SIZE, SHADOW_SIZE), along the light, -inf where empty

    def shade(self, points: Floats32) -> Floats32:
        """Share (n,) of the sun kept from points (3, n), softened over a 2 x 2 neighborhood."""
        right, up, towards = self.axes.astype(np.float32)
        x = (dot(right, points) - np.float32(self.corner[0])) * np.float32(self.scale)
        y = (np.float32(self.corner[1]) - dot(up, points)) * np.float32(self.scale)
        height = dot(towards, points) + np.float32(0.02 + 1.2 / self.scale)
        flat = self.heights.ravel()
        total = np.zeros(points.shape[1], np.float32)
        for dx, dy in ((-0.4, -0.2), (0.2, -0.4), (-0.2, 0.4), (0.4, 0.2)):
            i = np.clip((x + np.float32(dx)).astype(np.int32), 0, SHADOW_SIZE - 1)
            j = np.clip((y + np.float32(dy)).astype(np.int32), 0, SHADOW_SIZE - 1)
            total += flat[j * SHADOW_SIZE + i] > height
        return total / np.float32(4)


def cast(mesh: Mesh, faces: Ints, towards: Floats) -> Shadows:
    """The shadow map of some faces (n, 3) of a mesh, at least one, under light from a direction (3,)."""
    right = np.cross((0.0, 0.0, -1.0), towards)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(towards, right), towards])
    seen = turned(mesh.vertices, axes)
    used = np.zeros(len(seen), bool)
    used[faces] = True
    low, high = seen[used].min(0), seen[used].max(0)
    scale = (SHADOW_SIZE - 4) / float((high - low)[:2].max())
    corner = np.array([low[0] - 2 / scale, high[1] + 2 / scale])
    cells = np.stack([seen[:, 0] - corner[0], corner[1] - seen[:, 1]], 1) * scale
    step = (high[2] - low[2] + 1.0) / (1 << 24)
    face, height = raster(
        np.rint(cells * FIXED).astype(np.int64),
        ((seen[:, 2] - low[2]) / step).astype(np.int64) + 1,
        faces,
        Grid.centers(SHADOW_SIZE),
    )
    heights = np.where(face >= 0, height * step + low[2], -np.inf).astype(np.float32)
    return Shadows(axes, corner, scale, heights.reshape(SHADOW_SIZE, SHADOW_SIZE))
