"""Things for the hand, which stand on tables."""

from __future__ import annotations

import numpy as np

from .kinds import BLACK, BROWN, COLORS, DARK, METAL, PAINT, WHITE, Color, kind
from .meshes import Mesh, box, cylinder, lathe, part, rotation
from .rng import Stream
from .textures import Texture as Tex

BRIGHT = tuple(name for name in COLORS if name not in ("gray", "brown"))


@kind("cup", "top", 0, ("cup", "mug"))
def cup(draw: Stream, color: Color) -> list[Mesh]:
    """A mug with a handle and dark coffee."""
    parts = [
        part(cylinder(14, 1.12), (0.15, 0.18, 0.15), (0, 0.09, 0), color, Tex.GLOSS),
        part(cylinder(12), (0.145, 0.004, 0.145), (0, 0.18, 0), BROWN * 0.4),
    ]
    for size, at in (((0.06, 0.025, 0.03), (0.1, 0.14, 0)), ((0.06, 0.025, 0.03), (0.1, 0.05, 0)),
                     ((0.025, 0.115, 0.03), (0.13, 0.095, 0))):  # fmt: skip
        parts.append(part(box(), size, at, color, Tex.GLOSS))
    return parts


@kind("bottle", "top", 0, ("bottle",), BRIGHT)
def bottle(draw: Stream, color: Color) -> list[Mesh]:
    """A slender bottle with a label and a cork."""
    shape = lathe(
        ((0.0, 0.0), (0.5, 0.0), (0.5, 0.0), (0.5, 0.52), (0.46, 0.6), (0.18, 0.76), (0.17, 1.0), (0.0, 1.0)), 14
    )
    pale = WHITE if color.sum() < 1.5 else PAINT["blue"]
    return [
        part(shape, (0.14, 0.42, 0.14), (0, 0, 0), color, Tex.GLOSS),
        part(cylinder(14), (0.146, 0.11, 0.146), (0, 0.12, 0), pale),
        part(cylinder(8), (0.06, 0.045, 0.06), (0, 0.43, 0), DARK),
    ]


@kind("bowl", "top", 0, ("bowl",))
def bowl(draw: Stream, color: Color) -> list[Mesh]:
    """A wide bowl, hollow to the eye."""
    shape = lathe(((0.0, 0.0), (0.24, 0.0), (0.24, 0.0), (0.24, 0.1), (0.4, 0.4), (0.5, 1.0), (0.5, 1.0), (0.47, 1.0),
                   (0.47, 1.0), (0.36, 0.5), (0.0, 0.3)), 16)  # fmt: skip
    return [part(shape, (0.34, 0.15, 0.34), (0, 0, 0), color, Tex.GLOSS)]


@kind("apple", "top", 0, ("apple",), ("red", "green", "yellow"))
def apple(draw: Stream, color: Color) -> list[Mesh]:
    """A round fruit with a dimple, a stalk and a leaf."""
    shape = lathe(((0.0, 0.04), (0.22, 0.0), (0.42, 0.22), (0.5, 0.55), (0.42, 0.88), (0.22, 0.98), (0.0, 0.86)), 14)
    return [
        part(shape, (0.17, 0.155, 0.17), (0, 0, 0), color, Tex.GLOSS),
        part(cylinder(6), (0.014, 0.05, 0.014), (0, 0.155, 0), BROWN),
        part(box(), (0.06, 0.008, 0.03), (0.035, 0.17, 0), PAINT["green"], 0, rotation((0, 0, 1), 0.4)),
    ]


@kind("banana", "top", 0, ("banana",), ("yellow", "green"))
def banana(draw: Stream, color: Color) -> list[Mesh]:
    """Five links in an arc, with dark ends."""
    parts, thick = [], (0.035, 0.055, 0.06, 0.055, 0.035)
    for k in range(5):
        angle = (k - 2) * 0.42
        at = (0.17 * angle / 0.42 * 0.44, 0.03, -0.06 * (angle / 0.84) ** 2)
        turn = rotation((0, 1, 0), angle * 0.8) @ rotation((0, 0, 1), 1.5708)
        parts.append(part(cylinder(8), (thick[k], 0.09, thick[k]), at, color, Tex.PLAIN, turn))
        if k in (0, 4):
            tip = np.array(at) + turn @ (0.0, 0.045 * (1 if k == 0 else -1), 0.0)
            parts.append(part(cylinder(6), (0.022, 0.03, 0.022), tip, BROWN * 0.5, Tex.PLAIN, turn))
    return parts


@kind("laptop", "top", 0, ("laptop",), ("black", "white", "gray", "red", "blue", "pink"), frontal=True)
def laptop(draw: Stream, color: Color) -> list[Mesh]:
    """An open laptop with a lit screen."""
    lean, glow = rotation((1, 0, 0), -0.3), PAINT[draw.pick(("blue", "green", "purple", "white"))]
    keys = DARK if color.sum() > 0.2 else METAL * 0.5
    return [
        part(box(), (0.46, 0.025, 0.32), (0, 0.0125, 0), color),
        part(box(), (0.4, 0.004, 0.17), (0, 0.026, -0.04), keys, Tex.LINES),
        part(box(), (0.46, 0.31, 0.018), (0, 0.165, -0.205), color, 0, lean),
        part(box(), (0.42, 0.27, 0.006), (0, 0.168, -0.194), 0.25 + 0.6 * glow, Tex.GLOW, lean),
    ]


@kind("book", "top", 0, ("book",))
def book(draw: Stream, color: Color) -> list[Mesh]:
    """A thick book lying flat or standing on its edge."""
    turn = rotation((1, 0, 0), 1.3708 if draw.chance(0.5) else 0.0)
    parts = [part(box(), (0.21, 0.055, 0.27), (0.004, 0, 0), WHITE, Tex.LINES)]
    parts += [part(box(), (0.23, 0.012, 0.29), (0, y, 0), color) for y in (-0.032, 0.032)]
    parts.append(part(box(), (0.014, 0.07, 0.29), (-0.113, 0, 0), color * 0.8))
    parts.append(part(box(), (0.12, 0.003, 0.05), (0, 0.039, -0.05), PAINT["yellow"] if color[0] < 0.7 else BLACK))
    return [mesh.moved(turn, (0, 0, 0)) for mesh in parts]


@kind("clock", "top", 0, ("clock", "alarm clock"), BRIGHT, frontal=True)
def clock(draw: Stream, color: Color) -> list[Mesh]:
    """An alarm clock with two bells, a white face and dark hands."""
    stand = rotation((1, 0, 0), 1.5708)
    parts = [
        part(cylinder(18), (0.26, 0.1, 0.26), (0, 0.16, 0), color, Tex.GLOSS, stand),
        part(cylinder(18), (0.21, 0.012, 0.21), (0, 0.16, 0.05), WHITE, 0, stand),
    ]
    for angle, length in ((draw.uniform(0.0, 6.28), 0.085), (draw.uniform(0.0, 6.28), 0.06)):
        turn = rotation((0, 0, 1), angle)
        parts.append(part(box(), (0.018, length, 0.006), turn @ (0, length / 2, 0) + (0, 0.16, 0.06), BLACK, 0, turn))
    for x in (-1, 1):
        tilt = rotation((0, 0, 1), -x * 0.6)
        parts.append(part(cylinder(10, 0.5), (0.1, 0.06, 0.1), (x * 0.085, 0.31, 0), METAL, Tex.GLOSS, tilt))
        parts.append(part(box(), (0.025, 0.07, 0.03), (x * 0.08, 0.03, 0), DARK, 0, rotation((0, 0, 1), x * 0.3)))
    return parts
