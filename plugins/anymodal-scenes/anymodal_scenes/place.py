"""Who is in a scene and where: choice of things, footprints that never overlap, things on tables.

The layout is made in a frame whose z axis points to the viewer and is turned into the world afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, hypot, sin

import attrs
import numpy as np
from numpy.typing import NDArray

from . import body
from .kinds import KINDS, PAINT, Kind
from .meshes import Mesh, about_y, join, turned
from .rng import Stream

Floats = NDArray[np.float64]
Corners = tuple[tuple[float, float], ...]
GAP = 0.08
"""Meters that are always left between footprints on the ground."""


@attrs.frozen(eq=False)
class Item:
    """A thing before it has a place: its mesh stands on y = 0, centered on the vertical axis."""

    kind: Kind
    color: str | None
    mesh: Mesh
    extent: Floats  # (3,), width, height and depth in meters
    figure: body.Figure | None = None


@attrs.frozen(eq=False)
class Placed:
    """A thing at its place."""

    item: Item
    position: Floats  # (3,), middle of the base
    heading: float
    support: int | None = None
    footprint: Corners = attrs.field(init=False)
    """The corners (x, z) of its rectangle on the ground, in order round it."""

    @footprint.default
    def _around(self) -> Corners:
        x, z = self.item.extent[0] / 2, self.item.extent[2] / 2
        s, c = sin(self.heading), cos(self.heading)
        across, along = (x * c, -x * s), (z * s, z * c)
        middle = self.position[0], self.position[2]
        return tuple(
            (middle[0] + i * across[0] + j * along[0], middle[1] + i * across[1] + j * along[1])
            for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1))
        )

    @property
    def corners(self) -> Floats:
        """The eight corners (8, 3) of its box."""
        base = self.footprint
        low, high = self.position[1], self.position[1] + self.item.extent[1]
        return np.array([(x, y, z) for y in (low, high) for x, z in base])

    def turned(self, angle: float) -> Placed:
        """The same place in a frame turned about the vertical."""
        return attrs.evolve(self, position=turned(self.position[None], about_y(angle))[0], heading=self.heading + angle)

    def mesh(self) -> Mesh:
        """The mesh at its place."""
        return self.item.mesh.moved(about_y(self.heading), self.position)


def apart(a: Corners, b: Corners, gap: float = 0.0) -> bool:
    """Whether two rectangles are more than `gap` apart along one of their sides (separating axis theorem)."""
    for corners in (a, b):
        for (x0, z0), (x1, z1) in ((corners[0], corners[1]), (corners[1], corners[2])):
            length = hypot(x1 - x0, z1 - z0)
            nx, nz = (x1 - x0) / length, (z1 - z0) / length
            one = [x * nx + z * nz for x, z in a]
            two = [x * nx + z * nz for x, z in b]
            if min(one) - max(two) > gap or min(two) - max(one) > gap:
                return True
    return False


def make(draw: Stream, kind: Kind, scale: float = 1.0) -> Item:
    """A thing of a kind, with its own proportions and color."""
    if kind.build is None:
        person, shirt = body.figure(draw)
        middle = -(person.mesh.low + person.mesh.high) / 2 * (1, 0, 1)
        person = person.moved(middle)
        return Item(kind, shirt, person.mesh, _extent(person.mesh), person)
    color = draw.pick(kind.colors) if kind.colors else None
    mesh = join(kind.build(draw, PAINT[color] if color else PAINT["gray"]))
    low, high = mesh.low, mesh.high
    vertices = (mesh.vertices - ((low + high) / 2 * (1, 0, 1) + low * (0, 1, 0))) * scale
    mesh = attrs.evolve(mesh, vertices=vertices)
    return Item(kind, color, mesh, _extent(mesh))


def _extent(mesh: Mesh) -> Floats:
    """Width, height and depth (3,) of a mesh that stands on y = 0 about the vertical axis."""
    return mesh.high * (2, 1, 2)


def _company(draw: Stream, first: Kind, count: int, people: int, options: Sequence[Kind]) -> list[Kind]:
    """Kinds that go together: of similar bulk and rarely twice the same."""
    chosen = [first]
    while len(chosen) < count:
        bulk = max(kind.bulk for kind in chosen)
        weights = {k: (1.0 if abs(k.bulk - bulk) <= 1 else 0.04) * (0.15 if k in chosen else 1.0) for k in options}
        chosen.append(draw.weigh(weights))
    return chosen + [KINDS["person"]] * people


def choose(draw: Stream, place: str, kinds: Sequence[Kind]) -> tuple[list[Item], bool]:
    """The things of a scene, and whether it is a still life: the first carries all the others."""
    if place == "room" and draw.chance(0.3):
        tops = [kind for kind in kinds if "top" in kind.places]
        holder = make(draw.fork("holder"), draw.pick([kind for kind in kinds if kind.holds]))
        count = draw.weigh({1: 0.3, 2: 0.4, 3: 0.3})
        chosen = draw.shuffled(tops)[:count]
        carried = [make(draw.fork(f"top {k}"), kind, 1.25 if kind.bulk == 0 else 0.8) for k, kind in enumerate(chosen)]
        return [holder, *carried], True
    options = [kind for kind in kinds if place in kind.places and kind.build is not None]
    people = draw.weigh({0: 0.42, 1: 0.42, 2: 0.13, 3: 0.03}) if KINDS["person"] in kinds else 0
    count = draw.weigh({1: 0.42, 2: 0.38, 3: 0.2} if people else {1: 0.3, 2: 0.38, 3: 0.24, 4: 0.08})
    if people and draw.chance(0.12):
        chosen = [KINDS["person"]] * people
    else:
        chosen = _company(draw, draw.pick(options), count, people, options)
    keys = list(range(len(chosen)))
    if len(chosen) > 1 and chosen[1].build is not None and draw.fork("pair").chance(0.2):
        chosen[1] = chosen[0]
        keys[1] = 0 if draw.fork("twins").chance(0.6) else 1
    items = [make(draw.fork(f"item {key}"), kind) for key, kind in zip(keys, chosen, strict=True)]
    return sorted(items, key=lambda item: -float(item.extent[0] * item.extent[2])), False


def _heading(draw: Stream, item: Item) -> float:
    """Mostly facing the viewer, sometimes any way."""
    if item.kind.frontal:
        return draw.uniform(-0.85, 0.85)
    return draw.uniform(-3.14, 3.14) if draw.chance(0.12) else draw.uniform(-1.25, 1.25)


def _hides(front: Placed, back: Placed, eye: float) -> bool:
    """Whether much of the thing behind would be covered, seen from a point at x = 0 and z = `eye`."""
    a, b = ([x / max(eye - z, 0.1) for x, z in thing.footprint] for thing in (front, back))
    wide, narrow = max(a) - min(a), max(b) - min(b)
    shared = min(max(a), max(b)) - max(min(a), min(b))
    if shared <= 0.4 * min(wide, narrow):
        return False
    return bool(front.item.extent[1] > 0.5 * back.item.extent[1] or (shared > 0.75 * narrow and narrow < wide))


def spread(draw: Stream, items: Sequence[Item]) -> list[Placed]:
    """Put things on the ground, close together but apart, each where it can be seen."""
    placed: list[Placed] = []
    eye = 2.0 + 1.3 * sum(float(item.extent[0]) for item in items)
    for number, item in enumerate(items):
        own = draw.fork(f"place {number}")
        reach = 0.0
        while True:
            where = np.array([own.uniform(-1.3, 1.3) * reach, 0.0, own.uniform(-0.8, 0.8) * reach])
            here = Placed(item, where, _heading(own, item))
            if all(apart(here.footprint, other.footprint, GAP) for other in placed):
                order = [(here, o) if where[2] > o.position[2] else (o, here) for o in placed]
                if reach > 12 or not any(_hides(front, back, eye) for front, back in order):
                    break
            reach += 0.05
        placed.append(here)
    return placed


def set_table(draw: Stream, items: Sequence[Item]) -> list[Placed]:
    """Put all things but the first on the first one's top, as close to its front as they fit."""
    holder = Placed(items[0], np.zeros(3), draw.uniform(-0.5, 0.5))
    width, height, depth = items[0].extent
    placed = [holder]
    for number, item in enumerate(items[1:]):
        own = draw.fork(f"place {number}")
        room = np.maximum(np.array([width, depth]) * 0.42 - np.hypot(*item.extent[[0, 2]]) / 2, 0.0)
        for attempt in range(80):
            reach = min(1.0, 0.15 + attempt / 40)
            x, z = own.uniform(-1, 1) * room[0] * reach, own.uniform(-1, 1) * room[1]
            where = about_y(holder.heading) @ (x, 0.0, z) + (0.0, height, 0.0)
            here = Placed(item, where, own.uniform(-0.9, 0.9), support=0)
            order = [(here, o) if where[2] > o.position[2] else (o, here) for o in placed[1:]]
            clear = all(apart(here.footprint, other.footprint, 0.02) for other in placed[1:])
            if clear and not any(_hides(front, back, 3.0) for front, back in order):
                placed.append(here)
                break
    return placed


def focus(draw: Stream, placed: Sequence[Placed]) -> Floats:
    """What a still life shows (n, 3): the things on top, and of what carries them more or less."""
    things = np.concatenate([thing.corners for thing in placed[1:]])
    middle = things.mean(0)
    return np.concatenate([things, middle + (placed[0].corners - middle) * draw.uniform(0.1, 0.75)])


def arrange(draw: Stream, place: str, kinds: Sequence[Kind]) -> tuple[list[Placed], bool]:
    """A layout of things of some kinds for a room or outdoors, and whether it is a still life on a table."""
    items, still_life = choose(draw.fork("choice"), place, kinds)
    return (set_table if still_life else spread)(draw.fork("layout"), items), still_life
