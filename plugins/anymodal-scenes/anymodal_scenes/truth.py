"""What is true of a scene: boxes, areas, depths, bodies, relations, and what deserves a caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .body import Figure
from .meshes import about_y, turned
from .place import Placed
from .stage import Seen
from .types import Camera, Pose, Relation, SceneObject

Box = tuple[float, float, float, float]
_NAMED = 0.02  # share of the picture from which a caption names an object
_MOST = 4  # objects in a caption
_TO_HMR = np.diag([1.0, -1.0, -1.0])  # from x right, y up, z towards the viewer to x right, y down, z away


def objects(
    placed: Sequence[Placed], camera: Camera, seen: Seen, size: int, fallback: Sequence[SceneObject] = ()
) -> tuple[SceneObject, ...]:
    """Records of the things; one too small for a single pixel keeps the box of `fallback` and an area of 0."""
    owner = seen.owner.reshape(size, size)
    depth = seen.depth.reshape(size, size)
    things = []
    for number, thing in enumerate(placed):
        rows, columns = np.nonzero(owner == number)
        if len(rows):
            box = _box(rows, columns, size)
            area, far = len(rows) / size**2, float(depth[rows, columns].mean(dtype=np.float64))
        elif fallback:
            box, area, far = fallback[number].box, 0.0, fallback[number].depth
        else:
            box, area, far = (0.0, 0.0, 0.0, 0.0), 0.0, 0.0
        things.append(
            SceneObject(
                kind=thing.item.kind.name,
                class_id=thing.item.kind.class_id,
                color=thing.item.color,
                box=box,
                area=area,
                depth=far,
                position=_triple(thing.position),
                heading=thing.heading,
                extent=_triple(thing.item.extent),
                support=thing.support,
                pose=_pose(thing, thing.item.figure, camera, box) if thing.item.figure else None,
            )
        )
    return tuple(things)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def _box(rows: np.ndarray, columns: np.ndarray, size: int) -> Box:
    """The box round pixels, as fractions of the image."""
    low_x, low_y, high_x, high_y = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return float(low_x / size), float(low_y / size), float(high_x / size), float(high_y / size)


def _pose(thing: Placed, person: Figure, camera: Camera, box: Box) -> Pose:
    """The body of a placed person as the camera sees it."""
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


def named(things: Sequence[SceneObject]) -> tuple[int, ...]:
    """The objects for the caption: at most four, the biggest first; always at least one."""
    order = sorted(range(len(things)), key=lambda k: (-things[k].area, k))
    return tuple(k for n, k in enumerate(order[:_MOST]) if n == 0 or things[k].area >= _NAMED)


def relations(things: Sequence[SceneObject]) -> tuple[Relation, ...]:
    """All relations between two objects that hold clearly in the picture.

    "on": stands on it. "left of", "right of": box centers at least 0.15 apart across the picture and less than a
    quarter of the narrower box shared. "in front of", "behind": boxes share a quarter of the narrower and mean depths
    differ by half a meter and a tenth. "next to": less than 0.6 of the picture apart and at similar depth.
    """
    found = []
    for i, a in enumerate(things):
        for j, b in enumerate(things):
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
