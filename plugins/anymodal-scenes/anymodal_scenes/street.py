"""Things that stand along a street."""

from __future__ import annotations

from math import atan

from .kinds import BLACK, BROWN, COLORS, DARK, GLASS, METAL, PAINT, WHITE, Color, kind, linear
from .meshes import Mesh, ball, box, cylinder, frustum, lathe, part, rotation, wedge
from .rng import Stream
from .textures import Texture as Tex

LAY = rotation((0, 0, 1), 1.5708)
FACE = rotation((1, 0, 0), 1.5708)
WALLS = tuple(name for name in COLORS if name not in ("black", "purple"))
WINDOW = linear(58, 78, 98)


def _wheels(track: float, front: float, back: float, size: float) -> list[Mesh]:
    """Four wheels with pale hubs."""
    parts = []
    for x in (-1, 1):
        for z in (front, back):
            parts.append(part(cylinder(14), (size, 0.22, size), (x * track, size / 2, z), BLACK, 0, LAY))
            parts.append(part(cylinder(10), (size * 0.5, 0.24, size * 0.5), (x * track, size / 2, z), METAL, 0, LAY))
    return parts


def _lights(width: float, height: float, front: float, back: float) -> list[Mesh]:
    """Two white lamps in front, two red ones behind."""
    parts = []
    for x in (-1, 1):
        parts.append(part(box(), (0.3, 0.16, 0.05), (x * width, height, front), linear(255, 250, 215), Tex.GLOW))
        parts.append(part(box(), (0.25, 0.16, 0.05), (x * width, height, back), PAINT["red"], Tex.GLOW))
    return parts


@kind("car", "outdoors", 3, ("car",))
def car(draw: Stream, color: Color) -> list[Mesh]:
    """A saloon or hatchback: body, cabin of glass, roof, wheels, lamps, bumpers."""
    cabin, shift = draw.uniform(1.9, 2.3), draw.uniform(-0.5, -0.2)
    return [
        part(box(), (1.7, 0.42, 3.7), (0, 0.5, 0), color, Tex.GLOSS),
        part(frustum(0.96, 0.98), (1.7, 0.2, 3.7), (0, 0.81, 0), color, Tex.GLOSS),
        part(frustum(0.84, 0.66), (1.56, 0.46, cabin), (0, 1.13, shift), WINDOW, Tex.GLOSS),
        part(box(), (1.34, 0.07, cabin * 0.67), (0, 1.37, shift), color, Tex.GLOSS),
        *(
            part(
                frustum(1.0, 0.9), (0.06, 0.46, 0.12), (x * 0.74, 1.12, shift), color, 0, rotation((0, 0, 1), x * 0.26)
            )
            for x in (-1, 1)
        ),
        part(box(), (1.74, 0.16, 0.1), (0, 0.4, 1.85), DARK),
        part(box(), (1.74, 0.16, 0.1), (0, 0.4, -1.85), DARK),
        part(box(), (0.7, 0.12, 0.04), (0, 0.62, 1.86), DARK),
        *_lights(0.64, 0.68, 1.85, -1.85),
        *_wheels(0.8, 1.15, -1.15, 0.66),
    ]


@kind("bus", "outdoors", 4, ("bus",))
def bus(draw: Stream, color: Color) -> list[Mesh]:
    """A long box with a row of windows and a windscreen."""
    length = draw.uniform(5.0, 6.2)
    half, panes = length / 2, 5
    parts = [
        part(box(), (2.2, 2.2, length), (0, 1.5, 0), color, Tex.GLOSS),
        part(box(), (2.0, 0.1, length - 0.2), (0, 2.64, 0), WHITE),
        part(box(), (2.24, 0.12, length + 0.02), (0, 1.2, 0), WHITE),
        part(box(), (1.9, 0.95, 0.04), (0, 1.95, half), WINDOW, Tex.GLOSS),
        part(box(), (1.9, 0.7, 0.04), (0, 2.0, -half), WINDOW, Tex.GLOSS),
        part(box(), (1.2, 0.2, 0.06), (0, 0.75, half), DARK),
    ]
    for k in range(panes):
        z = (k - (panes - 1) / 2) * (length / panes)
        parts.append(part(box(), (2.24, 0.72, length / panes - 0.2), (0, 1.95, z), WINDOW, Tex.GLOSS))
    return parts + _lights(0.8, 0.72, half, -half) + _wheels(1.02, half - 1.1, 1.1 - half, 0.86)


@kind("truck", "outdoors", 4, ("truck", "lorry"))
def truck(draw: Stream, color: Color) -> list[Mesh]:
    """A cab in the color of the truck and a pale box behind it."""
    load = WHITE * draw.uniform(0.7, 1.0)
    return [
        part(box(), (1.9, 0.3, 5.0), (0, 0.65, 0), DARK),
        part(box(), (2.0, 1.0, 1.5), (0, 1.15, 1.7), color, Tex.GLOSS),
        part(frustum(0.94, 0.72, -0.13), (2.0, 0.85, 1.5), (0, 2.05, 1.7), color, Tex.GLOSS),
        part(box(), (1.66, 0.62, 0.03), (0, 2.02, 2.36), WINDOW, Tex.GLOSS, rotation((1, 0, 0), -0.36)),
        part(box(), (2.02, 0.5, 0.6), (0, 1.95, 1.6), WINDOW, Tex.GLOSS),
        part(box(), (1.3, 0.4, 0.04), (0, 1.05, 2.46), DARK),
        part(box(), (2.2, 2.0, 3.2), (0, 1.8, -0.85), load),
        part(box(), (2.24, 0.35, 3.22), (0, 1.7, -0.85), color),
        *_lights(0.78, 0.8, 2.46, -2.46),
        *_wheels(0.95, 1.6, -1.5, 0.9),
    ]


@kind("bench", "outdoors", 2, ("bench",), frontal=True)
def bench(draw: Stream, color: Color) -> list[Mesh]:
    """Planks on dark feet."""
    width = draw.uniform(1.3, 1.7)
    parts = [part(box(), (width, 0.05, 0.13), (0, 0.45, z), color, Tex.WOOD) for z in (-0.15, 0.0, 0.15)]
    parts += [part(box(), (width, 0.13, 0.05), (0, y, -0.24), color, Tex.WOOD) for y in (0.62, 0.8)]
    for x in (-1, 1):
        parts.append(part(box(), (0.08, 0.44, 0.42), (x * width * 0.4, 0.22, 0), DARK))
        parts.append(part(box(), (0.08, 0.45, 0.06), (x * width * 0.4, 0.65, -0.2), DARK))
    return parts


@kind("fire hydrant", "outdoors", 1, ("fire hydrant", "hydrant"), ("red", "yellow", "blue", "orange", "white"))
def fire_hydrant(draw: Stream, color: Color) -> list[Mesh]:
    """A post with a domed cap and three outlets."""
    outlet = rotation((0, 0, 1), 1.5708)
    return [
        part(cylinder(12), (0.42, 0.08, 0.42), (0, 0.04, 0), color * 0.8, Tex.GLOSS),
        part(cylinder(12), (0.3, 0.62, 0.3), (0, 0.35, 0), color, Tex.GLOSS),
        part(cylinder(12), (0.38, 0.07, 0.38), (0, 0.64, 0), color * 0.8, Tex.GLOSS),
        part(ball(12, 7), (0.32, 0.34, 0.32), (0, 0.67, 0), color, Tex.GLOSS),
        part(cylinder(6), (0.1, 0.1, 0.1), (0, 0.87, 0), METAL, Tex.GLOSS),
        part(cylinder(10), (0.15, 0.54, 0.15), (0, 0.47, 0), METAL, Tex.GLOSS, outlet),
        part(cylinder(10), (0.2, 0.22, 0.2), (0, 0.42, 0.14), METAL, Tex.GLOSS, FACE),
    ]


@kind("stop sign", "outdoors", 2, ("stop sign",), (), frontal=True)
def stop_sign(draw: Stream, color: Color) -> list[Mesh]:
    """A red octagon with a white rim and a white bar of writing, on a pole."""
    octagon = rotation((1, 0, 0), 1.5708) @ rotation((0, 1, 0), 0.3927)
    parts = [
        part(cylinder(8), (0.08, 1.9, 0.08), (0, 0.95, 0), METAL),
        part(cylinder(8), (0.82, 0.03, 0.82), (0, 1.75, 0.05), WHITE, 0, octagon),
        part(cylinder(8), (0.74, 0.02, 0.74), (0, 1.75, 0.063), PAINT["red"], 0, octagon),
    ]
    parts += [part(box(), (0.1, 0.2, 0.01), (x, 1.75, 0.076), WHITE) for x in (-0.22, -0.075, 0.075, 0.22)]
    return parts


@kind("traffic light", "outdoors", 2, ("traffic light",), (), frontal=True)
def traffic_light(draw: Stream, color: Color) -> list[Mesh]:
    """Three lamps in a dark case on a pole; one of them is lit."""
    lit = draw.pick((0, 1, 2))
    parts = [
        part(cylinder(8), (0.12, 1.6, 0.12), (0, 0.8, 0), DARK),
        part(cylinder(10), (0.3, 0.08, 0.3), (0, 0.04, 0), DARK),
        part(box(), (0.42, 1.05, 0.3), (0, 1.95, 0), linear(44, 46, 40)),
    ]
    for k, name in enumerate(("red", "yellow", "green")):
        lamp = PAINT[name] * (1.4 if k == lit else 0.25)
        at = (0, 2.28 - 0.33 * k, 0.15)
        parts.append(part(cylinder(12), (0.26, 0.06, 0.26), at, lamp, Tex.GLOW if k == lit else Tex.GLOSS, FACE))
        parts.append(part(box(), (0.3, 0.03, 0.14), (0, at[1] + 0.145, 0.2), BLACK))
    return parts


@kind("house", "outdoors", 4, ("house",), WALLS)
def house(draw: Stream, color: Color) -> list[Mesh]:
    """Brick or painted walls, a gabled roof, a door, windows and a chimney."""
    width, depth, height = draw.uniform(3.2, 4.2), draw.uniform(2.6, 3.2), draw.uniform(2.2, 2.7)
    wall = draw.pick((Tex.BRICK, Tex.SHINGLE, Tex.PLAIN))
    roof = linear(*draw.pick(((120, 58, 44), (78, 80, 90), (96, 66, 46))))
    front, side = depth / 2 + 0.01, draw.pick((-1, 1))
    parts = [
        part(box(), (width, height, depth), (0, height / 2, 0), color, wall),
        part(wedge(), (width - 0.02, 1.25, depth), (0, height + 0.62, 0), color, wall),
        part(
            box(), (0.4, 1.0, 0.4), (-side * width * 0.28, height + 1.1, -depth * 0.2), linear(150, 80, 64), Tex.BRICK
        ),
        part(box(), (0.75, 1.6, 0.05), (side * width * 0.24, 0.8, front), BROWN * 1.2, Tex.WOOD),
        part(box(), (0.09, 0.09, 0.06), (side * width * 0.24 + 0.25, 0.8, front + 0.04), PAINT["yellow"]),
    ]
    slope = (1.25**2 + (depth / 2) ** 2) ** 0.5 + 0.3
    for z in (-1, 1):
        lean = rotation((1, 0, 0), z * 0.98 * atan(2.5 / depth))
        at = (0, height + 0.62, z * (depth / 4 + 0.02))
        parts.append(part(box(), (width + 0.4, 0.12, slope), at, roof, Tex.SHINGLE, lean))
    for x, y in ((-side * width * 0.22, height * 0.55), (side * width * 0.24, height * 0.86)):
        if y < height * 0.7:
            parts += _window(x, y, front, 0.9, 0.8)
    parts += [
        mesh.moved(rotation((0, 1, 0), 1.5708 * s), (0, 0, 0))
        for s in (-1, 1)
        for mesh in _window(0, height * 0.55, width / 2 + 0.01, 0.8, 0.7)
    ]
    return parts


def _window(x: float, y: float, z: float, width: float, height: float) -> list[Mesh]:
    """A white frame, a dark pane and a cross."""
    return [
        part(box(), (width, height, 0.05), (x, y, z), WHITE),
        part(box(), (width - 0.16, height - 0.16, 0.06), (x, y, z), GLASS, Tex.PANE),
        part(box(), (0.05, height - 0.1, 0.07), (x, y, z), WHITE),
        part(box(), (width - 0.1, 0.05, 0.07), (x, y, z), WHITE),
    ]


@kind("umbrella", "outdoors", 3, ("umbrella", "parasol"))
def umbrella(draw: Stream, color: Color) -> list[Mesh]:
    """A parasol of colored and white panels, or of one color."""
    panels = Tex.PANELS if draw.chance(0.5) and color.min() < 0.2 else Tex.CLOTH
    shade = lathe(((0.0, 0.12), (0.48, -0.02), (0.5, 0.0), (0.5, 0.0), (0.3, 0.62), (0.0, 1.0)), 16)
    return [
        part(cylinder(8), (0.06, 1.9, 0.06), (0, 0.95, 0), WHITE),
        part(cylinder(10), (0.4, 0.1, 0.4), (0, 0.05, 0), DARK),
        part(shade, (2.0, 0.6, 2.0), (0, 1.5, 0), color, panels),
        part(ball(8, 5), (0.1, 0.1, 0.1), (0, 2.12, 0), WHITE),
    ]


@kind("skateboard", "outdoors room", 1, ("skateboard",))
def skateboard(draw: Stream, color: Color) -> list[Mesh]:
    """A deck with turned-up ends on four pale wheels, standing along x."""
    parts = [part(box(), (0.7, 0.05, 0.28), (0, 0.17, 0), color)]
    for x in (-1, 1):
        up = rotation((0, 0, 1), x * 0.45)
        parts.append(part(box(), (0.2, 0.05, 0.28), (x * 0.43, 0.21, 0), color, 0, up))
        parts.append(part(box(), (0.1, 0.08, 0.2), (x * 0.27, 0.12, 0), METAL))
        for z in (-1, 1):
            parts.append(part(cylinder(10), (0.14, 0.07, 0.14), (x * 0.27, 0.07, z * 0.12), WHITE, 0, FACE))
    return parts


@kind("sports ball", "outdoors room", 1, ("ball",), tuple(name for name in COLORS if name not in ("white", "gray")))
def sports_ball(draw: Stream, color: Color) -> list[Mesh]:
    """A ball with white panels, or of one color."""
    size, panels = draw.uniform(0.34, 0.46), Tex.PANELS if draw.chance(0.5) else Tex.GLOSS
    return [part(ball(18, 10), (size, size, size), (0, size / 2, 0), color, panels, rotation((1, 0, 1), 0.6))]
