"""Patterns on surfaces: how the reflectance varies from point to point, as a function of object coordinates."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .rng import Stream

Floats32 = NDArray[np.float32]
_TILE = 128


class Texture(IntEnum):
    """What a face is made of."""

    PLAIN = 0
    GLOSS = 1  # plain, with a highlight
    LEAVES = 2
    WOOD = 3
    CLOTH = 4
    BRICK = 5
    SHINGLE = 6
    PANELS = 7  # every other sector of a sphere or cone is white
    FUR = 8
    GLOW = 9  # shines by itself
    PLANKS = 10
    TILES = 11
    GRASS = 12
    SAND = 13
    ASPHALT = 14
    SNOW = 15
    PAVING = 16
    WATER = 17
    STRIPES = 18
    LINES = 19  # print on paper, rows of books
    PANE = 20  # glass, lit from within in the dark
    PANES = 21  # many of them, some of which are lit


def _noise() -> Floats32:
    """A tile of smooth noise in [0, 1], sums of value noise at five scales."""
    draw = Stream("noise")
    total = np.zeros((_TILE, _TILE), np.float32)
    for cells, weight in ((4, 0.4), (8, 0.3), (16, 0.2), (32, 0.15), (64, 0.1)):
        knots = np.array([draw.random() for _ in range(cells * cells)], np.float32).reshape(cells, cells)
        at = np.arange(_TILE) * cells / _TILE
        i = at.astype(int)
        t = (at - i).astype(np.float32)
        t = t * t * (3 - 2 * t)
        j = (i + 1) % cells
        rows = knots[i] * (1 - t)[:, None] + knots[j] * t[:, None]
        total += weight * (rows[:, i] * (1 - t) + rows[:, j] * t)
    return (total - total.min()) / (total.max() - total.min())


_NOISE = _noise()


def noise(x: Floats32, y: Floats32) -> Floats32:
    """Smooth noise in [0, 1] with period 1 in both coordinates."""
    return _NOISE[(x * _TILE).astype(np.int32) & (_TILE - 1), (y * _TILE).astype(np.int32) & (_TILE - 1)]


def _joints(u: Floats32, v: Floats32, width: float, dark: float) -> Floats32:
    """Dark seams around the cells of a unit grid."""
    return np.where((u % 1 < width) | (v % 1 < width), np.float32(dark), np.float32(1))


def shade_of(texture: int, p: Floats32) -> Floats32:
    """Factor (n,) of the reflectance at object coordinates p (3, n), around 1."""
    x, y, z = p
    flat = x + z
    match texture:
        case Texture.LEAVES:
            return 0.45 + 1.0 * noise(x * 0.9 + z * 0.4, y * 0.9 + z * 0.3)
        case Texture.WOOD:
            return 0.78 + 0.4 * noise(x * 0.25 + y * 0.15, z * 1.7 + y * 1.3)
        case Texture.CLOTH:
            return 0.9 + 0.2 * noise(x * 1.3 + y, z * 1.3 + y)
        case Texture.STRIPES:
            return np.where(np.floor(flat * 5) % 2 > 0, np.float32(1), np.float32(0.72))
        case Texture.BRICK:
            row = np.floor(y * 5)
            return _joints(flat * 2.2 + 0.5 * (row % 2), y * 5, 0.1, 0.6) * (0.85 + 0.3 * noise(row * 0.37, flat * 0.2))
        case Texture.SHINGLE:
            row = np.floor(y * 4.5)
            return _joints(flat * 2.5 + 0.5 * (row % 2), y * 4.5, 0.14, 0.7)
        case Texture.FUR:
            return 0.78 + 0.44 * noise(x * 2 + y, z * 2 - y)
        case Texture.PLANKS:
            row = np.floor(z * 5)
            return (0.72 + 0.45 * noise(x * 0.12 + row * 0.31, row * 0.37)) * _joints(
                x * 0.4 + row * 0.37, z * 5, 0.06, 0.6
            )
        case Texture.TILES:
            checker = (np.floor(x * 1.8) + np.floor(z * 1.8)) % 2
            return np.where(checker > 0, np.float32(1), np.float32(0.62))
        case Texture.GRASS:
            return 0.6 + 0.6 * noise(x * 0.35, z * 0.35) + 0.5 * (noise(x * 1.9, z * 1.9) - 0.5)
        case Texture.SAND:
            return 0.82 + 0.3 * noise(x * 0.3, z * 0.5) + 0.12 * (noise(x * 2.1, z * 2.1) - 0.5)
        case Texture.ASPHALT:
            return 0.8 + 0.25 * noise(x * 0.4, z * 0.4) + 0.3 * (noise(x * 2.7, z * 2.7) - 0.5)
        case Texture.SNOW:
            return 0.86 + 0.18 * noise(x * 0.2, z * 0.2)
        case Texture.PAVING:
            return _joints(x * 1.6, z * 1.6, 0.05, 0.7) * (
                0.85 + 0.3 * noise(np.floor(x * 1.6) * 0.37, np.floor(z * 1.6) * 0.23)
            )
        case Texture.WATER:
            return 0.8 + 0.5 * noise(x * 0.12, z * 0.6)
        case Texture.LINES:
            return np.where(np.floor(flat * 30) % 3 > 0, np.float32(1), np.float32(0.55))
        case _:
            return np.ones_like(x)


def repaint(texture: int, color: Floats32, p: Floats32) -> Floats32:
    """The reflectance (3, n) of one texture, from plain colors (3, n), at object coordinates (3, n)."""
    if texture == Texture.PANELS:
        odd = np.floor(np.arctan2(p[0], p[2]) * (4 / np.pi)) % 2 > 0
        return np.where(odd, color, np.float32(0.85))
    return color * shade_of(texture, p)
