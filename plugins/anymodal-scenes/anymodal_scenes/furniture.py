"""Things that stand in a room."""

from __future__ import annotations

from .kinds import BLACK, BROWN, COLORS, DARK, GLASS, METAL, PAINT, WHITE, Color, kind, linear
from .meshes import Mesh, about_y, ball, box, cylinder, frustum, lathe, part, rotation
from .rng import Stream
from .textures import Texture as Tex

PAINTED = tuple(name for name in COLORS if name != "gray")


def _legs(width: float, depth: float, height: float, thick: float, color: Color) -> list[Mesh]:
    """Four legs at the corners of a rectangle."""
    x, z = width / 2 - thick / 2, depth / 2 - thick / 2
    size = (thick, height, thick)
    return [part(box(), size, (i * x, height / 2, j * z), color, Tex.WOOD) for i in (-1, 1) for j in (-1, 1)]


@kind("chair", "room", 2, ("chair",))
def chair(draw: Stream, color: Color) -> list[Mesh]:
    """A seat, four legs and a back of slats or a panel."""
    seat, width = draw.uniform(0.42, 0.5), draw.uniform(0.44, 0.54)
    parts = _legs(width, width, seat, 0.06, color * 0.7)
    parts.append(part(box(), (width, 0.07, width), (0, seat, 0), color, Tex.WOOD))
    if draw.chance(0.5):
        parts.append(part(box(), (width, 0.5, 0.06), (0, seat + 0.28, 0.03 - width / 2), color, Tex.WOOD))
    else:
        for height in (0.2, 0.46):
            parts.append(part(box(), (width, 0.13, 0.05), (0, seat + height, 0.03 - width / 2), color, Tex.WOOD))
        for x in (-1, 1):
            post = (x * (width / 2 - 0.03), seat + 0.27, 0.03 - width / 2)
            parts.append(part(box(), (0.06, 0.54, 0.06), post, color * 0.7, Tex.WOOD))
    return parts


@kind("dining table", "room", 3, ("table",), PAINTED, holds=True)
def table(draw: Stream, color: Color) -> list[Mesh]:
    """A board on four legs, or a round one on a foot."""
    height = draw.uniform(0.66, 0.76)
    if draw.chance(0.3):
        width = draw.uniform(0.95, 1.25)
        return [
            part(cylinder(20), (width, 0.06, width), (0, height, 0), color, Tex.WOOD),
            part(cylinder(8), (0.12, height, 0.12), (0, height / 2, 0), color * 0.7, Tex.WOOD),
            part(cylinder(12, 0.4), (0.6, 0.1, 0.6), (0, 0.05, 0), color * 0.7, Tex.WOOD),
        ]
    width, depth = draw.uniform(1.0, 1.6), draw.uniform(0.7, 0.95)
    parts = _legs(width - 0.06, depth - 0.06, height, 0.08, color * 0.7)
    parts.append(part(box(), (width - 0.1, 0.1, depth - 0.1), (0, height - 0.05, 0), color * 0.8, Tex.WOOD))
    parts.append(part(box(), (width, 0.06, depth), (0, height, 0), color, Tex.WOOD))
    return parts


@kind("couch", "room", 3, ("couch", "sofa"))
def couch(draw: Stream, color: Color) -> list[Mesh]:
    """A base, a back, two arms and seat cushions."""
    width, seats = draw.uniform(1.5, 2.0), draw.pick((2, 3))
    parts = [
        part(box(), (width, 0.3, 0.8), (0, 0.2, 0), color * 0.8, Tex.CLOTH),
        part(frustum(1.0, 0.7), (width, 0.55, 0.25), (0, 0.6, -0.3), color * 0.9, Tex.CLOTH),
        part(box(), (width - 0.05, 0.05, 0.7), (0, 0.025, 0), DARK),
    ]
    for side in (-1, 1):
        arm = side * (width / 2 + 0.06)
        parts.append(part(box(), (0.2, 0.5, 0.84), (arm, 0.3, 0), color * 0.9, Tex.CLOTH))
        lay = rotation((1, 0, 0), 1.5708)
        parts.append(part(cylinder(10), (0.24, 0.84, 0.24), (arm, 0.55, 0), color * 0.9, Tex.CLOTH, lay))
    cushion = (width - 0.1) / seats
    for k in range(seats):
        x = (k - (seats - 1) / 2) * cushion
        parts.append(part(box(), (cushion - 0.03, 0.14, 0.58), (x, 0.41, 0.1), color, Tex.CLOTH))
        lean = rotation((1, 0, 0), -0.2)
        parts.append(part(box(), (cushion - 0.03, 0.38, 0.14), (x, 0.66, -0.16), color, Tex.CLOTH, lean))
    return parts


@kind("bed", "room", 3, ("bed",))
def bed(draw: Stream, color: Color) -> list[Mesh]:
    """A wooden frame, a blanket in the color of the bed, and white pillows."""
    width, wood = draw.uniform(1.2, 1.6), BROWN * draw.uniform(0.8, 1.5)
    parts = _legs(width, 2.0, 0.3, 0.1, wood)
    parts += [
        part(box(), (width, 0.18, 2.0), (0, 0.25, 0), wood, Tex.WOOD),
        part(box(), (width - 0.06, 0.2, 1.94), (0, 0.42, 0), WHITE, Tex.CLOTH),
        part(box(), (width + 0.04, 0.26, 1.3), (0, 0.42, 0.34), color, Tex.CLOTH),
        part(box(), (width, 0.9, 0.08), (0, 0.45, -1.0), wood, Tex.WOOD),
        part(box(), (width, 0.45, 0.08), (0, 0.23, 1.02), wood, Tex.WOOD),
    ]
    for x in (-1, 1):
        parts.append(part(ball(12, 6), (width * 0.42, 0.2, 0.42), (x * width * 0.23, 0.58, -0.66), WHITE, Tex.CLOTH))
    return parts


@kind("tv", "room", 2, ("tv", "television"), (), frontal=True)
def tv(draw: Stream, color: Color) -> list[Mesh]:
    """A wide screen showing a bright picture, on a low cabinet."""
    wood, glow = BROWN * draw.uniform(0.7, 1.6), PAINT[draw.pick(("blue", "green", "purple", "orange"))]
    return [
        part(box(), (1.1, 0.42, 0.4), (0, 0.21, -0.02), wood, Tex.WOOD),
        *(part(box(), (0.48, 0.3, 0.02), (x * 0.27, 0.22, 0.185), wood * 0.7, Tex.WOOD) for x in (-1, 1)),
        part(box(), (0.3, 0.1, 0.16), (0, 0.46, 0), DARK),
        part(box(), (1.16, 0.7, 0.06), (0, 0.85, 0), BLACK, Tex.GLOSS),
        part(box(), (1.06, 0.6, 0.02), (0, 0.85, 0.03), 0.3 + 0.5 * glow, Tex.GLOW),
        part(box(), (1.06, 0.24, 0.021), (0, 0.67, 0.03), glow, Tex.GLOW),
    ]


@kind("potted plant", "room outdoors", 1, ("potted plant", "plant"))
def plant(draw: Stream, color: Color) -> list[Mesh]:
    """A tapered pot in the color of the plant's name, and a fan of leaves."""
    green, leaves = PAINT["green"] * draw.uniform(0.8, 1.4), 9
    parts = [
        part(cylinder(12, 1.35), (0.34, 0.36, 0.34), (0, 0.18, 0), color),
        part(cylinder(12), (0.5, 0.07, 0.5), (0, 0.37, 0), color * 0.9),
        part(cylinder(10), (0.4, 0.02, 0.4), (0, 0.405, 0), BROWN * 0.5),
    ]
    for k in range(leaves):
        angle, lean = k * 2.4 + draw.uniform(0, 0.5), 0.15 + 0.75 * (k / leaves)
        turn = about_y(angle) @ rotation((1, 0, 0), lean)
        middle = turn @ (0.0, 0.3, 0.0)
        parts.append(
            part(
                ball(8, 5), (0.17, 0.62, 0.05), middle + (0, 0.38, 0), green * draw.uniform(0.8, 1.2), Tex.LEAVES, turn
            )
        )
    return parts


@kind("refrigerator", "room", 2, ("refrigerator", "fridge"), frontal=True)
def refrigerator(draw: Stream, color: Color) -> list[Mesh]:
    """A tall box with two doors and long handles."""
    height, split = draw.uniform(1.5, 1.8), draw.uniform(0.6, 0.7)
    low, side = split * height, draw.pick((-1, 1))
    parts = [part(box(), (0.72, height, 0.6), (0, height / 2, -0.03), color * 0.85)]
    for bottom, top in ((0.06, low - 0.01), (low + 0.01, height - 0.01)):
        middle, tall = (bottom + top) / 2, top - bottom
        parts.append(part(box(), (0.72, tall, 0.06), (0, middle, 0.31), color, Tex.GLOSS))
        parts.append(part(box(), (0.04, tall * 0.5, 0.05), (side * 0.28, middle, 0.36), METAL, Tex.GLOSS))
    return parts


@kind("cabinet", "room", 2, ("cabinet", "cupboard"), PAINTED, label="cabinet-merged", holds=True, frontal=True)
def cabinet(draw: Stream, color: Color) -> list[Mesh]:
    """A chest with two columns of drawers."""
    width, height, rows = draw.uniform(0.9, 1.2), draw.uniform(0.75, 1.0), draw.pick((2, 3))
    parts = [
        part(box(), (width, height - 0.08, 0.45), (0, height / 2 + 0.02, 0), color * 0.8, Tex.WOOD),
        part(box(), (width + 0.06, 0.05, 0.5), (0, height, 0), color, Tex.WOOD),
        *_legs(width, 0.45, 0.1, 0.08, color * 0.6),
    ]
    step = (height - 0.14) / rows
    for row in range(rows):
        for x in (-1, 1):
            at = (x * width / 4, 0.1 + (row + 0.5) * step, 0.23)
            parts.append(part(box(), (width / 2 - 0.05, step - 0.05, 0.03), at, color, Tex.WOOD))
            parts.append(part(box(), (0.14, 0.035, 0.04), (at[0], at[1], 0.26), DARK))
    return parts


@kind("lamp", "room", 2, ("lamp", "floor lamp"), label="light")
def lamp(draw: Stream, color: Color) -> list[Mesh]:
    """A foot, a pole and a wide shade in the color of the lamp."""
    height = draw.uniform(1.2, 1.5)
    return [
        part(cylinder(12), (0.34, 0.05, 0.34), (0, 0.025, 0), DARK),
        part(cylinder(8), (0.05, height, 0.05), (0, height / 2, 0), DARK),
        part(cylinder(14, 0.6), (0.56, 0.36, 0.56), (0, height + 0.1, 0), color * 1.1 + 0.02, Tex.CLOTH),
        part(ball(8, 5), (0.14, 0.14, 0.14), (0, height - 0.06, 0), WHITE, Tex.GLOW),
    ]


@kind("suitcase", "room outdoors", 1, ("suitcase",))
def suitcase(draw: Stream, color: Color) -> list[Mesh]:
    """A ribbed case on wheels with a pulled-out handle."""
    parts = [part(box(), (0.5, 0.66, 0.24), (0, 0.39, 0), color, Tex.GLOSS)]
    for x in (-0.16, 0.0, 0.16):
        parts.append(part(box(), (0.06, 0.62, 0.27), (x, 0.39, 0), color * 0.75))
    for x in (-1, 1):
        parts.append(part(box(), (0.03, 0.34, 0.03), (x * 0.13, 0.88, -0.06), METAL))
        for z in (-1, 1):
            parts.append(part(box(), (0.06, 0.08, 0.06), (x * 0.19, 0.04, z * 0.08), BLACK))
    parts.append(part(box(), (0.29, 0.05, 0.05), (0, 1.05, -0.06), BLACK))
    return parts


@kind("teddy bear", "room top", 1, ("teddy bear", "teddy"), ("brown", "white", "pink", "yellow", "black", "gray"))
def teddy_bear(draw: Stream, color: Color) -> list[Mesh]:
    """A sitting bear of spheres with a pale muzzle and belly."""
    pale, dark, round_ = 0.4 * color + 0.4, linear(20, 16, 16), ball(12, 8)
    parts = [
        part(round_, (0.36, 0.4, 0.32), (0, 0.22, 0), color, Tex.FUR),
        part(round_, (0.22, 0.26, 0.1), (0, 0.23, 0.13), pale, Tex.FUR),
        part(round_, (0.34, 0.32, 0.3), (0, 0.52, 0.02), color, Tex.FUR),
        part(round_, (0.16, 0.13, 0.14), (0, 0.47, 0.15), pale, Tex.FUR),
        part(ball(8, 5), (0.06, 0.045, 0.05), (0, 0.5, 0.225), dark, Tex.GLOSS),
    ]
    for x in (-1, 1):
        swing = rotation((0, 0, 1), x * 0.9) @ rotation((1, 0, 0), -0.5)
        parts += [
            part(ball(10, 6), (0.13, 0.13, 0.07), (x * 0.14, 0.66, 0), color, Tex.FUR),
            part(ball(8, 5), (0.04, 0.05, 0.04), (x * 0.065, 0.56, 0.16), dark, Tex.GLOSS),
            part(ball(10, 6), (0.13, 0.28, 0.13), (x * 0.2, 0.27, 0.07), color, Tex.FUR, swing),
            part(ball(10, 6), (0.15, 0.15, 0.3), (x * 0.14, 0.09, 0.2), color, Tex.FUR),
            part(ball(8, 5), (0.1, 0.1, 0.04), (x * 0.14, 0.09, 0.34), pale, Tex.FUR),
        ]
    return parts


@kind("vase", "room top", 1, ("vase",))
def vase(draw: Stream, color: Color) -> list[Mesh]:
    """A turned vase, sometimes with flowers."""
    belly, neck = draw.uniform(0.36, 0.5), draw.uniform(0.1, 0.18)
    profile = (
        (0.0, 0.0),
        (0.22, 0.0),
        (0.22, 0.0),
        (belly, 0.4),
        (0.9 * belly, 0.62),
        (neck, 0.82),
        (neck * 1.5, 1.0),
        (0.0, 1.0),
    )
    shape = lathe(tuple((round(r, 3), h) for r, h in profile), 14)
    parts = [part(shape, (0.36, 0.46, 0.36), (0, 0, 0), color, Tex.GLOSS)]
    if draw.chance(0.6):
        petals = PAINT[draw.pick(("red", "yellow", "pink", "white", "purple"))]
        for k in range(5):
            turn = about_y(k * 1.257) @ rotation((1, 0, 0), 0.38 * (k > 0))
            stem, bloom = turn @ (0.0, 0.13, 0.0), turn @ (0.0, 0.27, 0.0)
            parts.append(part(cylinder(5), (0.02, 0.26, 0.02), stem + (0, 0.43, 0), PAINT["green"], 0, turn))
            parts.append(part(ball(8, 5), (0.12, 0.09, 0.12), bloom + (0, 0.43, 0), petals))
    return parts


@kind("mirror", "room", 2, ("mirror",), PAINTED, label="mirror-stuff", frontal=True)
def mirror(draw: Stream, color: Color) -> list[Mesh]:
    """A standing mirror in a wooden frame."""
    lean = rotation((1, 0, 0), -0.12)
    return [
        part(box(), (0.62, 1.6, 0.06), (0, 0.82, 0), color, Tex.WOOD, lean),
        part(box(), (0.48, 1.44, 0.02), (0, 0.825, 0.03), GLASS * 1.6 + 0.2, Tex.GLOSS, lean),
        part(box(), (0.5, 0.05, 0.5), (0, 0.025, -0.05), color * 0.7, Tex.WOOD),
    ]
