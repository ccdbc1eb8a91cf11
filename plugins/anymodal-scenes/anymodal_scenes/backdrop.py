"""What is around the things: rooms of flat walls, places under the sky, and what decorates them.

A backdrop is the inside of a convex box with some sides missing. Seen from within, the inverse depth of each plane is
linear in the picture and the nearest plane is the one with the largest, so no triangles are needed.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from .coco import class_id
from .kinds import BROWN, COLORS, DARK, GLASS, PAINT, WHITE, linear
from .light import Lamp, Light
from .meshes import Mesh, about_y, ball, box, cylinder, join, part
from .rng import Stream
from .textures import Texture as Tex
from .types import Camera

Floats = NDArray[np.float64]


@attrs.frozen(eq=False)
class Plane:
    """All points p with normal . p = offset; the scene is on the side of its normal."""

    normal: Floats  # (3,), unit
    offset: float
    color: Floats
    texture: int
    label: int


@attrs.frozen(eq=False)
class Decor:
    """A mesh that is no object, with its semantic class."""

    mesh: Mesh
    label: int


@attrs.frozen(eq=False)
class Backdrop:
    """Planes, decoration, and the words for them."""

    planes: list[Plane]
    decor: list[Decor]
    ground: str
    wall: str | None = None
    view: str | None = None


_FLOORS = {
    "wooden floor": (Tex.PLANKS, "floor-wood", ((150, 100, 60), (188, 140, 92), (112, 74, 48))),
    "tiled floor": (Tex.TILES, "floor-other-merged", ((205, 200, 190), (170, 185, 195), (190, 160, 140))),
    "carpet": (Tex.CLOTH, "floor-other-merged", ((150, 140, 130), (120, 130, 145), (150, 118, 112), (110, 128, 110))),
}
_WALLS = {
    "white": (240, 238, 232), "gray": (172, 174, 178), "blue": (150, 176, 210), "green": (164, 196, 160),
    "yellow": (232, 214, 150), "pink": (230, 186, 190), "purple": (186, 170, 206), "brown": (190, 160, 128),
}  # fmt: skip
_GROUNDS = {
    "grass": (Tex.GRASS, "grass-merged", ((96, 142, 58), (112, 150, 70))),
    "sand": (Tex.SAND, "sand", ((222, 200, 152), (214, 186, 140))),
    "road": (Tex.ASPHALT, "road", ((104, 104, 108), (88, 90, 96))),
    "pavement": (Tex.PAVING, "pavement-merged", ((176, 172, 166), (160, 156, 160))),
    "snow": (Tex.SNOW, "snow", ((238, 242, 248),)),
    "dirt": (Tex.SAND, "dirt-merged", ((146, 112, 80), (130, 96, 66))),
}


def surround(draw: Stream, place: str, corners: Floats, camera: Camera, light: Light) -> Backdrop:
    """A "room" or the "outdoors" round things with the given corners (n, 3) and round the camera."""
    return (room if place == "room" else outdoors)(draw, corners, camera, light)


def room(draw: Stream, corners: Floats, camera: Camera, light: Light) -> Backdrop:
    """A room round things with the given corners (n, 3) and round the camera; open behind the camera."""
    ground = draw.weigh({"wooden floor": 0.5, "tiled floor": 0.25, "carpet": 0.25})
    texture, label, colors = _FLOORS[ground]
    tint = draw.weigh({name: 2.0 if name == "white" else 1.0 for name in _WALLS})
    paint, finish, kind = linear(*_WALLS[tint]), Tex.PLAIN, "wall-other-merged"
    wall = f"{tint} walls"
    if draw.chance(0.15):
        wall, finish, kind, paint = "brick walls", Tex.BRICK, "wall-brick", linear(176, 104, 84)
    elif draw.chance(0.1):
        wall, finish, kind, paint = "wooden walls", Tex.WOOD, "wall-wood", linear(176, 128, 84)
    low, high = corners.min(0), corners.max(0)
    left = min(low[0] - draw.uniform(0.15, 1.6), camera.eye[0] - 0.4)
    right = max(high[0] + draw.uniform(0.15, 1.6), camera.eye[0] + 0.4)
    back = low[2] - draw.uniform(0.12, 1.6)
    lamp = light.lamp.position[1] if light.lamp else 0.0
    top = max(high[1] + 0.3, camera.eye[1] + 0.3, lamp + 0.4, draw.uniform(2.5, 3.0))
    pane = linear(24, 32, 62) if light.name == "night" else linear(176, 214, 244)
    axis = np.eye(3)
    side = class_id(kind)
    planes = [
        Plane(axis[1], 0.0, linear(*draw.pick(colors)), texture, class_id(label)),
        Plane(-axis[1], -top, linear(236, 236, 232), Tex.PLAIN, class_id("ceiling-merged")),
        Plane(axis[2], back, paint, finish, side),
        Plane(axis[0], left, paint * 0.9, finish, side),
        Plane(-axis[0], -right, paint * 0.9, finish, side),
    ]
    decor = [Decor(_skirting(left, right, back), side)]
    middle = (low + high) / 2
    if draw.chance(0.4):
        size = (high - low)[[0, 2]] + draw.uniform(0.3, 0.9)
        color = PAINT[draw.pick(COLORS)] * 0.6 + 0.1
        rug = [part(box(), (size[0], 0.012, size[1]), (middle[0], 0.006, middle[2]), color, Tex.STRIPES)]
        pale, inside = 0.5 * color + 0.2, (size[0] - 0.3, 0.006, size[1] - 0.3)
        inner = [part(box(), inside, (middle[0], 0.013, middle[2]), pale, Tex.CLOTH)]
        decor.append(Decor(join(rug + inner), class_id("rug-merged")))
    where = float(np.clip(middle[0] + draw.uniform(-1.2, 1.2), left + 0.8, right - 0.8))
    hang = draw.weigh({"window": 0.4, "picture": 0.35, "door": 0.1, "nothing": 0.15})
    decor += _hung(draw, hang, np.array([where, 0.0, back]), 0.0, pane)
    if draw.chance(0.5):
        near, far = max(back + 1.0, float(high[2])), back + 0.9
        wall_x, turn = (left, 1.5708) if camera.eye[0] > middle[0] else (right, -1.5708)
        at = np.array([wall_x, 0.0, draw.uniform(far, near)])
        decor += _hung(draw, draw.pick(("picture", "window")), at, turn, pane)
    if light.lamp:
        decor.append(_pendant(light.lamp, top))
    return Backdrop(planes, decor, ground, wall)


def _pendant(lamp: Lamp, top: float) -> Decor:
    """A lampshade and its cord, which hangs from a height of `top`."""
    x, y, z = lamp.position
    return Decor(
        join([
            part(cylinder(10, 0.5), (0.4, 0.2, 0.4), (x, y + 0.12, z), linear(255, 226, 160), Tex.GLOW),
            part(cylinder(6), (0.02, top - y - 0.2, 0.02), (x, (top + y) / 2 + 0.1, z), DARK),
        ]),
        class_id("light"),
    )  # fmt: skip


def _street_lamp(lamp: Lamp) -> Decor:
    """A globe on a post."""
    x, y, z = lamp.position
    return Decor(
        join([
            part(ball(12, 7), (0.34, 0.34, 0.34), (x, y, z), linear(255, 226, 160), Tex.GLOW),
            part(cylinder(8), (0.1, y - 0.1, 0.1), (x, y / 2 - 0.05, z), DARK),
            part(cylinder(10), (0.26, 0.12, 0.26), (x, 0.06, z), DARK),
        ]),
        class_id("light"),
    )  # fmt: skip


def _skirting(left: float, right: float, back: float) -> Mesh:
    """White boards along the foot of the walls."""
    width, depth = right - left, 8.0
    return join([
        part(box(), (width, 0.1, 0.03), ((left + right) / 2, 0.05, back + 0.015), WHITE),
        part(box(), (0.03, 0.1, depth), (left + 0.015, 0.05, back + depth / 2), WHITE),
        part(box(), (0.03, 0.1, depth), (right - 0.015, 0.05, back + depth / 2), WHITE),
    ])  # fmt: skip


def _hung(draw: Stream, what: str, at: Floats, turn: float, pane: Floats) -> list[Decor]:
    """A window with curtains, a framed picture or a door, on the wall at a point, facing `turn` radians from +z.

    `pane` (3,) is the color of the sky behind the window.
    """
    parts: list[tuple[Mesh, str]] = []
    if what == "window":
        width, height, middle = draw.uniform(0.9, 1.4), draw.uniform(0.9, 1.3), draw.uniform(1.5, 1.65)
        parts.append((part(box(), (width + 0.14, height + 0.14, 0.05), (0, middle, 0.025), WHITE), "window-other"))
        parts.append((part(box(), (width, height, 0.06), (0, middle, 0.025), pane, Tex.GLOW), "window-other"))
        for size, shift in (((0.05, height, 0.07), 0), ((width, 0.05, 0.07), 0)):
            parts.append((part(box(), size, (shift, middle, 0.03), WHITE), "window-other"))
        if draw.chance(0.5):
            cloth = PAINT[draw.pick(COLORS)] * 0.7 + 0.1
            for x in (-1, 1):
                place = (x * (width / 2 + 0.05), middle - 0.05, 0.07)
                parts.append((part(box(), (0.28, height + 0.4, 0.06), place, cloth, Tex.STRIPES), "curtain"))
    elif what == "picture":
        width, height = draw.uniform(0.5, 1.1), draw.uniform(0.45, 0.8)
        one, two, three = (PAINT[name] for name in draw.shuffled(COLORS)[:3])
        middle, frame = 1.6, BROWN * draw.uniform(0.2, 2.0)
        disc = (width * draw.uniform(-0.25, 0.25), middle + height * 0.12, 0.03)
        canvas = [
            part(box(), (width + 0.12, height + 0.12, 0.04), (0, middle, 0.02), frame, Tex.WOOD),
            part(box(), (width, height, 0.05), (0, middle, 0.02), one * 0.7 + 0.1),
            part(box(), (width, height * 0.35, 0.06), (0, middle - height * 0.32, 0.02), two),
            part(ball(10, 6), (height * 0.4, height * 0.4, 0.05), disc, three),
        ]
        parts += [(mesh, "wall-other-merged") for mesh in canvas]
    elif what == "door":
        wood = BROWN * draw.uniform(1.0, 2.0)
        parts += [
            (part(box(), (1.02, 2.1, 0.04), (0, 1.05, 0.02), WHITE), "door-stuff"),
            (part(box(), (0.86, 2.0, 0.07), (0, 1.0, 0.02), wood, Tex.WOOD), "door-stuff"),
            (part(ball(8, 5), (0.07, 0.07, 0.09), (0.34, 1.0, 0.08), PAINT["yellow"], Tex.GLOSS), "door-stuff"),
        ]
    return [Decor(mesh.moved(about_y(turn), at), class_id(name)) for mesh, name in parts]


def outdoors(draw: Stream, corners: Floats, camera: Camera, light: Light) -> Backdrop:
    """Open ground to the horizon, and something far behind."""
    ground = draw.weigh({"grass": 0.3, "sand": 0.17, "road": 0.17, "pavement": 0.14, "snow": 0.12, "dirt": 0.1})
    texture, label, colors = _GROUNDS[ground]
    planes = [Plane(np.eye(3)[1], 0.0, linear(*draw.pick(colors)), texture, class_id(label))]
    yaw = float(np.arctan2(camera.rotation[2, 0], camera.rotation[2, 2]))
    towards = about_y(yaw)
    behind = float((corners @ towards[:, 2]).min())
    eye = float(camera.eye @ towards[:, 2])
    decor = []
    if ground == "road":
        decor += _road(draw, corners)
    options = {
        "grass": {"hills": 0.3, "trees": 0.3, "fence": 0.2, None: 0.2},
        "sand": {"sea": 0.6, "hills": 0.2, None: 0.2},
        "road": {"buildings": 0.4, "trees": 0.3, None: 0.3},
        "pavement": {"buildings": 0.6, "fence": 0.2, None: 0.2},
        "snow": {"hills": 0.4, "trees": 0.4, None: 0.2},
        "dirt": {"hills": 0.5, "fence": 0.3, None: 0.2},
    }[ground]
    view = draw.weigh(options)
    build = {"hills": _hills, "trees": _trees, "fence": _fence, "sea": _sea, "buildings": _buildings}
    if view:
        distance = min(behind - draw.uniform(1.5, 4), eye - 6) if view == "fence" else behind - draw.uniform(8, 18)
        mesh, name = build[view](draw, max(distance, eye - 55), ground)
        decor.append(Decor(mesh.moved(towards, (0, 0, 0)), class_id(name)))
    if light.lamp:
        decor.append(_street_lamp(light.lamp))
    return Backdrop(planes, decor, ground, None, view)


def _road(draw: Stream, corners: Floats) -> list[Decor]:
    """White dashes along z, and a strip of grass beside the road."""
    side = draw.pick((-1, 1))
    lane = float(corners[:, 0].mean()) + draw.uniform(-0.5, 0.5)
    edge = float(corners[:, 0].min() if side < 0 else corners[:, 0].max())
    edge += side * draw.uniform(0.6, 2.0)
    dashes = [part(box(), (0.16, 0.004, 1.6), (lane, 0.002, z), WHITE * 0.9) for z in np.arange(-36.0, 12.0, 3.2)]
    kerb = part(box(), (0.2, 0.1, 100.0), (edge + side * 0.1, 0.05, -40.0), linear(180, 178, 172))
    verge = part(box(), (60.0, 0.08, 100.0), (edge + side * 30.2, 0.04, -40.0), linear(100, 146, 62), Tex.GRASS)
    return [
        Decor(join(dashes), class_id("road")), Decor(kerb, class_id("pavement-merged")),
        Decor(verge, class_id("grass-merged")),
    ]  # fmt: skip


def _hills(draw: Stream, distance: float, ground: str) -> tuple[Mesh, str]:
    """Rounded hills, white on snow."""
    bare = ((92, 124, 92), (120, 116, 120), (140, 112, 86))
    tone = linear(206, 214, 228) if ground == "snow" else linear(*draw.pick(bare))
    parts = []
    for k in range(7):
        width, height = draw.uniform(16, 30), draw.uniform(5, 13)
        at = ((k - 3) * 11 + draw.uniform(-3, 3), 0.0, distance - 12 - draw.uniform(0, 6))
        parts.append(part(ball(14, 8), (width, height, 8), at, tone * draw.uniform(0.85, 1.15), Tex.GRASS))
    return join(parts), "mountain-merged"


def _trees(draw: Stream, distance: float, ground: str) -> tuple[Mesh, str]:
    """A row of distant crowns or firs."""
    parts, firs = [], draw.chance(0.5)
    green = linear(54, 104, 56) if ground != "snow" else linear(60, 92, 78)
    for k in range(13):
        width, height = draw.uniform(2.6, 4.2), draw.uniform(2.8, 5.5)
        at = ((k - 6) * 3.1 + draw.uniform(-1, 1), 0.0, distance - draw.uniform(0, 4))
        tone = green * draw.uniform(0.75, 1.2)
        if firs:
            size, rise = (width * 0.7, height * 1.2, width * 0.7), (0.0, height * 0.6, 0.0)
            parts.append(part(cylinder(8, 0.05), size, np.add(at, rise), tone, Tex.LEAVES))
        else:
            rise = (0.0, height * 0.45, 0.0)
            parts.append(part(ball(10, 6), (width, height, width), np.add(at, rise), tone, Tex.LEAVES))
    return join(parts), "tree-merged"


def _fence(draw: Stream, distance: float, ground: str) -> tuple[Mesh, str]:
    """A picket fence."""
    color = draw.pick((WHITE * 0.9, BROWN * 1.4))
    parts = [part(box(), (30.0, 0.12, 0.06), (0, y, distance), color, Tex.WOOD) for y in (0.3, 0.75)]
    posts = np.arange(-9.0, 9.0, 0.36)
    parts += [part(box(), (0.14, 1.0, 0.04), (x, 0.5, distance + 0.05), color, Tex.WOOD) for x in posts]
    return join(parts), "fence-merged"


def _sea(draw: Stream, distance: float, ground: str) -> tuple[Mesh, str]:
    """Water to the horizon, behind a line of foam."""
    water = part(box(), (240.0, 0.02, 90.0), (0, 0.01, distance - 45.0), linear(40, 110, 160), Tex.WATER)
    foam = part(box(), (240.0, 0.024, 0.5), (0, 0.012, distance), WHITE)
    return join([water, foam]), "sea"


def _buildings(draw: Stream, distance: float, ground: str) -> tuple[Mesh, str]:
    """A row of blocks with rows of windows."""
    parts, x = [], -24.0
    while x < 24:
        width, height, depth = draw.uniform(4, 8), draw.uniform(5, 14), 6.0
        tone = linear(*draw.pick(((176, 160, 146), (150, 150, 158), (186, 140, 116), (206, 196, 176))))
        z = distance - 6 - draw.uniform(0, 5)
        parts.append(part(box(), (width, height, depth), (x + width / 2, height / 2, z), tone))
        parts.append(part(box(), (width + 0.3, 0.3, depth + 0.3), (x + width / 2, height, z), tone * 0.7))
        for floor in range(int(height / 2.2)):
            at = (x + width / 2, 1.6 + 2.2 * floor, z + depth / 2)
            parts.append(part(box(), (width * 0.84, 1.0, 0.06), at, GLASS * 0.7, Tex.PANES))
        for post in (0.2, 0.4, 0.6, 0.8):
            at = (x + width * post, height / 2, z + depth / 2 + 0.02)
            parts.append(part(box(), (0.45, height, 0.1), at, tone))
        x += width + draw.uniform(0.0, 1.2)
    return join(parts), "building-other-merged"
