"""One scene from two numbers: layout, camera, labels, relations, caption, picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isqrt

import attrs
import numpy as np

from anymodal.errors import ValueProblem

from . import backdrop, caption, light, place, shade, stage
from .camera import shoot
from .coco import class_id
from .kinds import select
from .meshes import about_y, dot, turned
from .place import Placed
from .raster import Grid
from .records import Camera, Pose, Relation, Scene, SceneObject, Setting
from .rng import Stream

VERSION = 1
"""Counts the changes of what a seed and an index mean."""
SMALLEST, LARGEST = 16, 512
_SURVEY = 64  # visibility, relations and captions are decided at this size, whatever size is asked for
_VISIBLE = 0.004  # an object that covers less of the survey is left out
_NAMED = 0.02  # a caption names what covers more of the survey
_SKY = class_id("sky-other-merged")
_TO_HMR = np.diag([1.0, -1.0, -1.0])  # from x right, y up, z towards the viewer to x right, y down, z away


def render(seed: int, index: int, size: int = 64, kinds: Iterable[str] | None = None) -> Scene:
    """The scene of a seed and an index as a picture of size by size pixels with all its labels.

    The same arguments give the same labels on every machine; the size changes nothing but the sampling.
    `kinds` are the names of the kinds of things that may occur, all when None; `BASIC` is a smaller world.
    Raises ValueProblem for a size outside 16..512 or a kind that does not exist.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueProblem(f"cannot render a scene of {size} pixels: choose a size from {SMALLEST} to {LARGEST}")
    draw = Stream("scenes", VERSION, seed, index)
    where = "room" if draw.chance(0.5) else "outdoors"
    yaw = draw.uniform(-0.6, 0.6)
    layout, still_life = place.arrange(draw, where, select(kinds))
    placed = [thing.turned(yaw) for thing in layout]
    corners = np.concatenate([thing.corners for thing in placed])
    focus = place.focus(draw.fork("focus"), placed) if still_life else corners
    camera = shoot(draw.fork("camera"), focus, yaw, where, still_life)
    around = (backdrop.room if where == "room" else backdrop.outdoors)(draw.fork("backdrop"), corners, camera)
    sun = light.lighting(draw.fork("light"), where, yaw)
    scenery = stage.build([(thing.mesh(), thing.item.kind.class_id) for thing in placed], around, camera)

    survey = scenery.look(_SURVEY, Grid.centres(_SURVEY))
    counts = np.bincount(survey.owner + 1, minlength=len(placed) + 1)[1:]
    held = {thing.support for thing in placed}
    gone = {k for k, count in enumerate(counts) if count < _VISIBLE * _SURVEY**2 and k not in held and k != counts.argmax()}
    if gone:
        scenery, placed = scenery.without(gone), _without(placed, gone)
        survey = scenery.look(_SURVEY, Grid.centres(_SURVEY))
    rough = _objects(placed, camera, survey, _SURVEY)
    relations = _relations(rough)
    named = _named(rough)
    setting = Setting(where, around.ground, sun.name, around.wall, around.view)
    text = caption.describe(draw.fork("caption"), rough, named, relations, setting)

    grid = Grid.halves(size)
    seen = scenery.look(size, grid)
    middle = _middle(seen, size)
    objects = _objects(placed, camera, middle, size, rough)
    surfaces = scenery.surfaces(seen, size, grid)
    shadows = light.cast(scenery.mesh, scenery.mesh.faces[scenery.owner >= 0], sun.towards)
    linear = shade.lit(surfaces, sun, shadows, haze=where == "outdoors")
    sky = np.flatnonzero(seen.sky)
    linear[:, sky] = shade.sky(surfaces.view[:, sky], sun)
    return Scene(
        seed=seed, index=index, rgb=shade.developed(linear, size),
        depth=middle.depth.reshape(size, size),
        normal=_normals(surfaces.normal, middle, camera),
        semseg=scenery.label(middle, _SKY).astype(np.uint8).reshape(size, size),
        instance=(middle.owner + 1).astype(np.uint8).reshape(size, size),
        objects=objects, relations=relations, named=named, camera=camera, setting=setting, caption=text,
    )  # fmt: skip


def _middle(seen: stage.Seen, size: int) -> stage.Seen:
    """The samples in the middles of pixels, of samples at half pixels."""
    n = 2 * size + 1
    return stage.Seen(*(values.reshape(n, n)[1::2, 1::2].ravel() for values in (seen.face, seen.plane, seen.inverse, seen.owner)))


def _normals(normal: shade.Floats32, middle: stage.Seen, camera: Camera) -> shade.Floats32:
    """Normals (size, size, 3) in the camera's frame, from those of all samples (3, n) in the world; zero in the sky."""
    side, size = isqrt(normal.shape[1]), isqrt(len(middle.face))
    world = normal.reshape(3, side, side)[:, 1::2, 1::2].reshape(3, -1)
    seen = np.stack([dot(axis, world) for axis in camera.rotation.astype(np.float32)])
    seen /= np.maximum(np.sqrt(dot(seen, seen)), np.float32(1e-6))
    seen[:, middle.sky] = 0
    return np.ascontiguousarray(seen.T).reshape(size, size, 3)


def _without(placed: Sequence[Placed], gone: set[int]) -> list[Placed]:
    """The things that are left, with supports renumbered."""
    rank = {k: n for n, k in enumerate(k for k in range(len(placed)) if k not in gone)}
    return [
        attrs.evolve(thing, support=None if thing.support is None else rank[thing.support])
        for k, thing in enumerate(placed)
        if k not in gone
    ]


def _objects(
    placed: Sequence[Placed], camera: Camera, seen: stage.Seen, size: int, fallback: Sequence[SceneObject] = ()
) -> tuple[SceneObject, ...]:
    """Records of the things; one too small for a single pixel keeps the box of `fallback` and an area of 0."""
    owner = seen.owner.reshape(size, size)
    depth = seen.depth.reshape(size, size)
    objects = []
    for number, thing in enumerate(placed):
        rows, columns = np.nonzero(owner == number)
        if len(rows):
            box = (columns.min() / size, rows.min() / size, (columns.max() + 1) / size, (rows.max() + 1) / size)
            box = tuple(float(edge) for edge in box)
            area, far = len(rows) / size**2, float(depth[rows, columns].mean(dtype=np.float64))
        elif fallback:
            box, area, far = fallback[number].box, 0.0, fallback[number].depth
        else:
            box, area, far = (0.0, 0.0, 0.0, 0.0), 0.0, 0.0
        objects.append(
            SceneObject(
                kind=thing.item.kind.name,
                class_id=thing.item.kind.class_id,
                colour=thing.item.colour,
                box=box,
                area=area,
                depth=far,
                position=tuple(float(x) for x in thing.position),
                heading=thing.heading,
                extent=tuple(float(x) for x in thing.item.extent),
                support=thing.support,
                pose=_pose(thing, camera, box) if thing.item.figure else None,
            )
        )
    return tuple(objects)


def _pose(thing: Placed, camera: Camera, box: tuple[float, float, float, float]) -> Pose:
    """The body of a placed person as the camera sees it."""
    person = thing.item.figure
    turn = about_y(thing.heading)
    to_camera = _TO_HMR @ camera.rotation
    joints = turned(turned(person.joints, turn) + thing.position - camera.eye, to_camera)
    x, y, z = joints[0]
    side = max(box[2] - box[0], box[3] - box[1], 1e-6)
    scale = 2 * camera.focal / (side * z)
    shift = [2 * ((low + high) / 2 - 0.5) / (side * scale) for low, high in ((box[0], box[2]), (box[1], box[3]))]
    return Pose(
        action=person.action,
        global_orient=to_camera @ turn @ person.rotations[0],
        body_pose=person.rotations[1:],
        betas=person.betas,
        joints=joints,
        joints_2d=0.5 + camera.focal * joints[:, :2] / joints[:, 2:],
        camera=np.array([scale, x - shift[0], y - shift[1]]),
    )


def _named(objects: Sequence[SceneObject]) -> tuple[int, ...]:
    """The objects for the caption: at most four, the biggest first; always at least one."""
    order = sorted(range(len(objects)), key=lambda k: (-objects[k].area, k))
    return tuple(k for n, k in enumerate(order[:4]) if n == 0 or objects[k].area >= _NAMED)


def _relations(objects: Sequence[SceneObject]) -> tuple[Relation, ...]:
    """All relations between two objects that hold clearly in the picture.

    "on": stands on it. "left of", "right of": box centres at least 0.15 apart across the picture and less than a
    quarter of the narrower box shared. "in front of", "behind": boxes share a quarter of the narrower and mean depths
    differ by half a metre and a tenth. "next to": less than 0.6 of the picture apart and at similar depth.
    """
    found = []
    for i, a in enumerate(objects):
        for j, b in enumerate(objects):
            if i == j or b.support == i:
                continue
            if a.support == j:
                found.append(Relation(i, "on", j))
                continue
            ca, cb = (a.box[0] + a.box[2]) / 2, (b.box[0] + b.box[2]) / 2
            shared = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
            narrow = min(a.box[2] - a.box[0], b.box[2] - b.box[0])
            beside = abs(a.depth - b.depth) < max(0.5, 0.15 * min(a.depth, b.depth))
            if abs(ca - cb) >= 0.15 and shared < 0.25 * narrow:
                found.append(Relation(i, "left of" if ca < cb else "right of", j))
                if beside and abs(ca - cb) < 0.6:
                    found.append(Relation(i, "next to", j))
            if shared >= 0.25 * narrow and abs(a.depth - b.depth) >= max(0.5, 0.1 * min(a.depth, b.depth)):
                found.append(Relation(i, "in front of" if a.depth < b.depth else "behind", j))
    return tuple(found)
