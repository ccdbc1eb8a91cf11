"""From visible surfaces to light: textures, sun, shadows, haze and sky, one sample at a time but all at once.

Colors are linear reflectances until the end; the picture is their square root (a display gamma of 2).
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from .light import Light, Shadows
from .meshes import dot
from .textures import Texture, noise, repaint

Floats32 = NDArray[np.float32]
_SHINY = (Texture.GLOSS, Texture.PANE, Texture.PANES)
_LAMPLIGHT = np.array([[0.9], [0.62], [0.24]], np.float32)


@attrs.frozen(eq=False)
class Surfaces:
    """What n samples see; coordinates come first because that is how they are computed fastest."""

    color: Floats32  # (3, n)
    texture: NDArray[np.int64]  # (n,)
    local: Floats32  # (3, n), where the texture is looked up
    normal: Floats32  # (3, n), unit, in the world
    position: Floats32  # (3, n), in the world
    depth: Floats32  # (n,)
    view: Floats32  # (3, n), unit, from the eye


def painted(surfaces: Surfaces) -> Floats32:
    """Reflectance (3, n) with textures."""
    color = surfaces.color.copy()
    for texture in np.flatnonzero(np.bincount(surfaces.texture, minlength=len(Texture))):
        if texture not in (Texture.PLAIN, Texture.GLOW, *_SHINY):
            here = np.flatnonzero(surfaces.texture == texture)
            color[:, here] = repaint(int(texture), color[:, here], surfaces.local[:, here])
    return color


def lit(surfaces: Surfaces, light: Light, shadows: Shadows, haze: bool) -> Floats32:
    """Light (3, n) that reaches the eye from surfaces."""
    color, normal = painted(surfaces), surfaces.normal
    sun, above, below = (c.astype(np.float32)[:, None] for c in (light.sun, light.above, light.below))
    towards = light.towards.astype(np.float32)
    bright = np.maximum(dot(towards, normal), 0)
    bright *= 1 - np.float32(0.92) * shadows.shade(surfaces.position + normal * np.float32(0.02))
    out = color * (below + (above - below) * (normal[1] + 1) / 2 + sun * bright)
    if light.lamp:
        out += color * light.lamp.shed(surfaces.position, normal)
    gloss = np.flatnonzero(np.isin(surfaces.texture, _SHINY))
    if len(gloss):
        half = towards[:, None] - surfaces.view[:, gloss]
        half /= np.sqrt(dot(half, half))
        shine = np.maximum(dot(half, normal[:, gloss]), 0) ** 40 * (bright[gloss] > 0.02)
        out[:, gloss] += np.float32(0.45) * shine * sun
    glow = np.flatnonzero(surfaces.texture == Texture.GLOW)
    out[:, glow] = color[:, glow]
    if light.dark:
        out[:, _lit_windows(surfaces)] = _LAMPLIGHT
    if haze:
        far = 1 - np.exp(-np.maximum(surfaces.depth - 18, 0) / np.float32(60))
        out += far * (light.horizon.astype(np.float32)[:, None] * np.float32(0.85) - out)
    return out


def _lit_windows(surfaces: Surfaces) -> NDArray[np.int64]:
    """The samples behind which a lamp is lit: all of a house, some of a row of panes."""
    panes = np.flatnonzero(surfaces.texture >= Texture.PANE)
    x, y, _ = surfaces.local[:, panes]
    some = noise(np.floor(x) * np.float32(0.37), np.floor(y * np.float32(0.45)) * np.float32(0.23)) > np.float32(0.52)
    return panes[(surfaces.texture[panes] == Texture.PANE) | some]


def sky(view: Floats32, light: Light) -> Floats32:
    """Color (3, n) of the sky in unit directions (3, n): a gradient, clouds on a high plane, stars at night."""
    zenith, horizon = (c.astype(np.float32)[:, None] for c in (light.zenith, light.horizon))
    height = np.maximum(view[1], 0)
    out = horizon + (zenith - horizon) * np.minimum(height * np.float32(1.7), 1) ** np.float32(0.7)
    if light.clouds > 0.1:
        scale = np.float32(0.12) / (height + np.float32(0.12))
        cover = noise(view[0] * scale + np.float32(0.3), view[2] * scale + np.float32(light.towards[0]))
        cover = np.clip((cover - np.float32(0.72 - 0.4 * light.clouds)) * 4, 0, 1) * np.minimum(height * 6, 1)
        white = np.maximum(horizon, np.float32(0.8)) * np.array([[1], [0.98], [0.97]], np.float32)
        out += np.float32(0.85) * cover * (white - out)
    if light.name == "night":
        cells = (view[[0, 2]] / (height + np.float32(0.4)) * 80).astype(np.int64)
        mixed = (cells[0] * 73856093) ^ (cells[1] * 19349663)
        out[:, (mixed >> 3) % 1009 < 9] = np.float32(0.75)
    return out


def developed(linear: Floats32, size: int) -> NDArray[np.uint8]:
    """The picture (size, size, 3) from samples (3, (2 size + 1)**2) at half pixels: a 1-2-1 filter each way."""
    display = np.sqrt(np.clip(linear, 0, 1)).reshape(3, 2 * size + 1, 2 * size + 1)
    rows = display[:, 0:-1:2] + 2 * display[:, 1::2] + display[:, 2::2]
    both = rows[..., 0:-1:2] + 2 * rows[..., 1::2] + rows[..., 2::2]
    return np.ascontiguousarray((both * np.float32(255 / 16) + np.float32(0.5)).astype(np.uint8).transpose(1, 2, 0))
