"""Where the camera stands: as near as the things to be seen allow."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from .meshes import turned
from .rng import Stream
from .types import Camera

Floats = NDArray[np.float64]
STEEP = 0.5236
"""Radians below the horizon from which a view is one from above: 30 degrees."""


def look(pitch: float, yaw: float) -> Floats:
    """World-to-camera rotation (3, 3) of a camera that looks down by `pitch` and stands at `yaw` from +z towards +x."""
    back = np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    return np.stack([right, np.cross(back, right), back])


def frame(points: Floats, fov: float, pitch: float, yaw: float, fill: float) -> Camera:
    """The nearest camera in which points (n, 3) fill at most the share `fill` of the picture, centered.

    Args:
        points: what must be seen.
        fov: degrees.
        pitch, yaw: direction of view in radians, see `look`.
        fill: 1 touches the border, more crops.
    """
    rotation = look(pitch, yaw)
    focal = 0.5 / np.tan(np.radians(fov) / 2)
    seen = turned(points, rotation)
    center = (seen.min(0) + seen.max(0)) / 2
    for _ in range(3):
        offset = seen - center
        away = float((offset[:, 2] + np.abs(offset[:, :2]).max(1) * focal / (fill / 2)).max())
        picture = offset[:, :2] / (away - offset[:, 2:])
        center[:2] += (picture.min(0) + picture.max(0)) / 2 * away
    offset = seen - center
    away = float((offset[:, 2] + np.abs(offset[:, :2]).max(1) * focal / (fill / 2)).max())
    away = max(away, float(offset[:, 2].max()) + 0.5)
    return Camera(fov, rotation, rotation.T @ (center + (0.0, 0.0, away)), float(focal))


def shoot(draw: Stream, points: Floats, yaw: float, still_life: bool) -> Camera:
    """A camera for a scene, with random lens, height and framing, sometimes high above; it stays above the ground."""
    fov = draw.uniform(36, 56)
    if still_life:
        pitch, fill = draw.uniform(0.28, 0.62), draw.uniform(0.7, 0.95)
    else:
        pitch, fill = draw.uniform(0.06, 0.36), draw.uniform(0.86, 1.06)
    high = draw.fork("high")
    if high.chance(0.07):
        pitch = high.uniform(STEEP, 1.05)
    camera = frame(points, fov, pitch, yaw, fill)
    if camera.eye[1] < 0.3:
        camera = attrs.evolve(camera, eye=camera.eye * (1, 0, 1) + (0, 0.3, 0))
    return camera
