"""Trees, animals and camping."""

from __future__ import annotations

from .kinds import BROWN, COLORS, DARK, FURS, PAINT, WHITE, Color, kind, linear
from .meshes import Mesh, ball, box, cone, cylinder, frustum, lathe, part, rotation, wedge
from .rng import Stream
from .textures import Texture as Tex

EYE = linear(16, 14, 14)


@kind("tree", "outdoors", 4, ("tree",), (), label="tree-merged")
def tree(draw: Stream, color: Color) -> list[Mesh]:
    """A fir of stacked cones or a leafy crown, on a brown trunk."""
    trunk, green = draw.uniform(0.7, 1.4), PAINT["green"] * draw.uniform(0.6, 1.2)
    parts = [part(cylinder(10, 0.7), (0.3, trunk + 0.5, 0.3), (0, trunk / 2 + 0.25, 0), BROWN, Tex.WOOD)]
    if draw.chance(0.45):
        for k in range(4):
            width = 1.9 - 0.42 * k
            parts.append(part(cone(12), (width, 1.1, width), (0, trunk + 0.35 + 0.55 * k, 0), green, Tex.LEAVES))
        return parts
    for k in range(5):
        turn = rotation((0, 1, 0), 1.2566 * k + draw.uniform(0, 0.6))
        size = draw.uniform(1.1, 1.4)
        at = turn @ (0.0, 0.0, 0.45) + (0, trunk + 0.75 + 0.2 * (k % 2), 0)
        parts.append(part(ball(12, 7), (size, size * 0.9, size), at, green * draw.uniform(0.85, 1.15), Tex.LEAVES))
    parts.append(part(ball(12, 7), (1.3, 1.2, 1.3), (0, trunk + 1.35, 0), green * 1.1, Tex.LEAVES))
    return parts


def _legs(color: Color, x: float, front: float, back: float, height: float, thick: float, foot: Color) -> list[Mesh]:
    """Four legs with darker or lighter feet."""
    parts = []
    for i in (-1, 1):
        for z in (front, back):
            parts.append(part(cylinder(8, 1.25), (thick, height, thick), (i * x, height / 2, z), color, Tex.FUR))
            parts.append(
                part(box(), (thick * 1.1, height * 0.14, thick * 1.4), (i * x, height * 0.07, z + thick * 0.15), foot)
            )
    return parts


def _eyes(x: float, y: float, z: float, size: float) -> list[Mesh]:
    """Two dark eyes."""
    return [part(ball(8, 5), (size, size, size), (i * x, y, z), EYE, Tex.GLOSS) for i in (-1, 1)]


@kind("dog", "outdoors room", 1, ("dog",), FURS)
def dog(draw: Stream, color: Color) -> list[Mesh]:
    """A standing dog with a long muzzle, hanging ears and a raised tail."""
    pale, round_ = 0.7 * color + 0.2, ball(12, 7)
    return [
        *_legs(color, 0.11, 0.26, -0.26, 0.36, 0.1, pale),
        part(round_, (0.32, 0.34, 0.5), (0, 0.47, 0.16), color, Tex.FUR),
        part(round_, (0.28, 0.3, 0.56), (0, 0.46, -0.14), color, Tex.FUR),
        part(cylinder(10), (0.18, 0.36, 0.18), (0, 0.62, 0.36), color, Tex.FUR, rotation((1, 0, 0), 0.7)),
        part(round_, (0.27, 0.26, 0.3), (0, 0.77, 0.45), color, Tex.FUR),
        part(round_, (0.15, 0.14, 0.26), (0, 0.72, 0.62), pale, Tex.FUR),
        part(ball(8, 5), (0.07, 0.06, 0.06), (0, 0.75, 0.74), EYE, Tex.GLOSS),
        *(
            part(
                ball(8, 6),
                (0.07, 0.25, 0.14),
                (x * 0.14, 0.73, 0.42),
                color * 0.55,
                Tex.FUR,
                rotation((0, 0, 1), x * 0.25),
            )
            for x in (-1, 1)
        ),
        *_eyes(0.075, 0.82, 0.57, 0.045),
        part(cylinder(8, 0.5), (0.08, 0.36, 0.08), (0, 0.68, -0.48), color, Tex.FUR, rotation((1, 0, 0), -0.6)),
    ]


@kind("cat", "outdoors room", 1, ("cat",), FURS)
def cat(draw: Stream, color: Color) -> list[Mesh]:
    """A sitting cat: pear-shaped body, pointed ears, a tail curled round."""
    pale, round_ = 0.6 * color + 0.3, ball(12, 7)
    curl = []
    for k in range(5):
        turn = rotation((0, 1, 0), 0.5 * k)
        curl.append(
            part(ball(8, 5), (0.09, 0.09, 0.16), turn @ (0.25, 0.0, -0.02) + (0, 0.05, 0.0), color * 0.8, Tex.FUR, turn)
        )
    return [
        part(round_, (0.38, 0.34, 0.44), (0, 0.17, -0.03), color, Tex.FUR),
        part(round_, (0.29, 0.46, 0.3), (0, 0.33, 0.06), color, Tex.FUR),
        part(round_, (0.17, 0.26, 0.1), (0, 0.32, 0.175), pale, Tex.FUR),
        *(part(cylinder(8), (0.08, 0.32, 0.08), (x * 0.075, 0.16, 0.19), color, Tex.FUR) for x in (-1, 1)),
        *(part(ball(8, 5), (0.1, 0.07, 0.13), (x * 0.08, 0.035, 0.22), pale, Tex.FUR) for x in (-1, 1)),
        part(round_, (0.31, 0.27, 0.27), (0, 0.62, 0.1), color, Tex.FUR),
        part(ball(10, 6), (0.14, 0.1, 0.1), (0, 0.57, 0.21), pale, Tex.FUR),
        part(ball(8, 5), (0.04, 0.03, 0.03), (0, 0.6, 0.255), PAINT["pink"]),
        *(
            part(
                cone(6),
                (0.12, 0.16, 0.07),
                (x * 0.1, 0.78, 0.08),
                color * 0.85,
                Tex.FUR,
                rotation((0, 0, 1), -x * 0.2),
            )
            for x in (-1, 1)
        ),
        *(
            part(ball(8, 5), (0.055, 0.065, 0.03), (x * 0.075, 0.645, 0.215), PAINT["yellow"], Tex.GLOSS)
            for x in (-1, 1)
        ),
        *_eyes(0.075, 0.645, 0.225, 0.03),
        *curl,
    ]


@kind("horse", "outdoors", 3, ("horse",), ("brown", "black", "white", "gray"))
def horse(draw: Stream, color: Color) -> list[Mesh]:
    """A standing horse with mane and tail."""
    dark, round_ = (color * 0.35 if color.sum() > 0.1 else color + 0.05), ball(14, 8)
    return [
        *_legs(color, 0.2, 0.55, -0.55, 0.92, 0.16, dark),
        part(round_, (0.6, 0.7, 1.0), (0, 1.12, 0.34), color, Tex.FUR),
        part(round_, (0.62, 0.72, 1.1), (0, 1.12, -0.34), color, Tex.FUR),
        part(frustum(0.8, 0.55, 0.1), (0.28, 0.9, 0.56), (0, 1.58, 0.82), color, Tex.FUR, rotation((1, 0, 0), 0.5)),
        part(box(), (0.09, 0.95, 0.2), (0, 1.66, 0.6), dark, Tex.FUR, rotation((1, 0, 0), 0.5)),
        part(round_, (0.26, 0.36, 0.42), (0, 1.92, 1.06), color, Tex.FUR),
        part(frustum(0.8, 0.8), (0.22, 0.56, 0.26), (0, 1.78, 1.26), color, Tex.FUR, rotation((1, 0, 0), 2.3)),
        part(ball(8, 5), (0.19, 0.19, 0.19), (0, 1.62, 1.42), dark, Tex.FUR),
        *(part(cone(6), (0.09, 0.2, 0.08), (x * 0.09, 2.13, 0.98), color, Tex.FUR) for x in (-1, 1)),
        *_eyes(0.12, 1.96, 1.16, 0.06),
        part(cylinder(8, 0.5), (0.2, 0.95, 0.2), (0, 0.92, -0.98), dark, Tex.FUR, rotation((1, 0, 0), 3.34)),
    ]


@kind("sheep", "outdoors", 2, ("sheep",), ("white", "black", "brown", "gray"))
def sheep(draw: Stream, color: Color) -> list[Mesh]:
    """A woolly body of spheres, a dark face and thin legs."""
    skin = DARK if color.sum() > 0.1 else linear(150, 140, 130)
    parts = _legs(skin, 0.15, 0.24, -0.28, 0.4, 0.1, skin * 0.6)
    wool = (
        (0, 0.6, 0, 0.66), (0.1, 0.66, 0.26, 0.46), (-0.1, 0.66, 0.24, 0.46), (0.12, 0.64, -0.28, 0.5),
        (-0.12, 0.66, -0.28, 0.5), (0, 0.74, 0, 0.56), (0, 0.56, 0.3, 0.44),
    )  # fmt: skip
    for x, y, z, size in wool:
        parts.append(part(ball(12, 7), (size, size * 0.84, size), (x, y, z), color, Tex.FUR))
    parts += [
        part(ball(10, 7), (0.22, 0.34, 0.28), (0, 0.8, 0.62), skin, Tex.PLAIN, rotation((1, 0, 0), -0.5)),
        part(ball(10, 6), (0.26, 0.2, 0.26), (0, 0.97, 0.53), color, Tex.FUR),
        *(
            part(ball(8, 5), (0.2, 0.07, 0.1), (x * 0.18, 0.88, 0.54), skin, 0, rotation((0, 0, 1), -x * 0.4))
            for x in (-1, 1)
        ),
        *(part(ball(8, 5), (0.06, 0.06, 0.03), (x * 0.085, 0.86, 0.72), WHITE, Tex.GLOSS) for x in (-1, 1)),
    ]
    return parts


@kind("elephant", "outdoors", 3, ("elephant",), ("gray", "pink", "blue", "brown"))
def elephant(draw: Stream, color: Color) -> list[Mesh]:
    """A big body, wide ears, a trunk of shrinking spheres and two tusks."""
    round_ = ball(14, 8)
    parts = _legs(color, 0.34, 0.42, -0.5, 0.9, 0.36, color * 0.6)
    parts += [
        part(round_, (1.15, 1.15, 1.6), (0, 1.2, -0.1), color, Tex.CLOTH),
        part(round_, (0.85, 0.9, 0.8), (0, 1.6, 0.82), color, Tex.CLOTH),
        *(
            part(
                round_,
                (0.8, 0.95, 0.12),
                (x * 0.62, 1.58, 0.66),
                color * 0.8,
                Tex.CLOTH,
                rotation((0, 1, 0), -x * 0.45),
            )
            for x in (-1, 1)
        ),
        *_eyes(0.27, 1.74, 1.13, 0.09),
        *(
            part(cone(8), (0.11, 0.55, 0.11), (x * 0.24, 1.2, 1.28), WHITE, Tex.GLOSS, rotation((1, 0, 0), 1.9))
            for x in (-1, 1)
        ),
        part(cylinder(6), (0.07, 0.7, 0.07), (0, 1.05, -0.95), color * 0.7, 0, rotation((1, 0, 0), 0.25)),
    ]
    for k in range(6):
        thick, angle = 0.38 - 0.045 * k, 0.1 * (k * k - 3 * k) - 0.15
        at = (0, 1.46 - 0.2 * k, 1.22 + 0.02 * (k - 1) * (k - 3))
        parts.append(
            part(
                cylinder(10, 1.16),
                (thick, 0.26, thick),
                at,
                color * (0.92 + 0.08 * (k % 2)),
                Tex.CLOTH,
                rotation((1, 0, 0), angle),
            )
        )
    return parts


@kind("tent", "outdoors", 3, ("tent",), tuple(c for c in COLORS if c != "black"))
def tent(draw: Stream, color: Color) -> list[Mesh]:
    """A ridge tent whose dark opening faces the front."""
    width, height, depth = draw.uniform(1.8, 2.3), draw.uniform(1.3, 1.6), draw.uniform(1.9, 2.4)
    quarter = rotation((0, 1, 0), 1.5708)
    return [
        part(wedge(), (depth, height, width), (0, height / 2, 0), color, Tex.CLOTH, quarter),
        part(wedge(), (0.05, height * 0.8, width * 0.5), (0, height * 0.4, depth / 2), color * 0.12, 0, quarter),
        part(cylinder(8), (0.06, height + 0.1, 0.06), (0, height / 2, depth / 2 + 0.03), BROWN, Tex.WOOD),
        part(box(), (0.07, 0.06, depth + 0.1), (0, height, 0), color * 0.7),
    ]


@kind("surfboard", "outdoors", 2, ("surfboard",))
def surfboard(draw: Stream, color: Color) -> list[Mesh]:
    """A board stuck upright in the ground, with a pale stripe."""
    outline = lathe(
        ((0.0, 0.0), (0.16, 0.03), (0.34, 0.14), (0.46, 0.32), (0.5, 0.5), (0.45, 0.7), (0.3, 0.87), (0.0, 1.0)), 16
    )
    lean = rotation((1, 0, 0), -0.12)
    stripe = WHITE if color.sum() < 1.6 else PAINT["red"]
    return [
        part(outline, (0.62, 1.9, 0.12), (0, -0.02, 0), color, Tex.GLOSS, lean),
        part(box(), (0.07, 1.5, 0.126), (0, 0.93, -0.11), stripe, 0, lean),
    ]


@kind("boat", "outdoors", 3, ("boat",))
def boat(draw: Stream, color: Color) -> list[Mesh]:
    """A hull with a mast and a white sail, drawn up on land; its bow points to +x."""
    keel = rotation((1, 0, 0), 3.1416)
    return [
        part(frustum(0.72, 0.5), (2.5, 0.6, 1.0), (0, 0.3, 0), color, Tex.GLOSS, keel),
        part(box(), (2.5, 0.08, 1.02), (0, 0.6, 0), WHITE),
        part(box(), (2.2, 0.02, 0.8), (0, 0.645, 0), BROWN * 1.6, Tex.WOOD),
        part(cylinder(8), (0.07, 2.1, 0.07), (0.15, 1.6, 0), BROWN, Tex.WOOD),
        part(frustum(0.02, 1.0), (1.5, 1.6, 0.03), (-0.05, 1.75, 0.0), WHITE, Tex.CLOTH),
        part(box(), (1.5, 0.06, 0.06), (-0.05, 0.92, 0), BROWN, Tex.WOOD),
        part(lathe(((0.0, -0.5), (0.5, -0.5), (0.5, -0.5), (0.0, 0.5)), 4), (0.25, 0.25, 0.25), (0.15, 2.7, 0), color),
    ]
