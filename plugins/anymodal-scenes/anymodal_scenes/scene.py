"""One scene from two numbers: layout, camera, labels, caption, picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from anymodal.errors import ValueProblem

from . import backdrop, caption, light, place, shade, stage, truth
from .camera import STEEP, shoot
from .catalog import select
from .coco import class_id
from .meshes import dot
from .place import Placed
from .raster import Grid
from .rng import Stream
from .types import Camera, Scene, Setting

VERSION = 2
"""Counts the changes of what a seed and an index mean."""
SMALLEST, LARGEST = 16, 512
_SURVEY = 64  # visibility, relations and captions are decided at this size, whatever size is asked for
_VISIBLE = 0.004  # an object that covers less of the survey is left out
_SKY = class_id("sky-other-merged")


def render(seed: int, index: int, size: int = 64, kinds: Iterable[str] | None = None) -> Scene:
    """The scene of a seed and an index as a picture of size by size pixels with all its labels.

    The same arguments give the same labels on every machine; the size changes nothing but the sampling.
    `kinds` are the names of the kinds of things that may occur, all when None; `BASIC` is a smaller world.
    Raises ValueProblem for a size outside 16..512 or a kind that does not exist.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueProblem(f"cannot render a scene of {size} pixels: choose a size from {SMALLEST} to {LARGEST}")
    draw = Stream("scenes", 1, seed, index)  # not VERSION: what a new version leaves alone stays as it was
    where = "room" if draw.chance(0.5) else "outdoors"
    yaw = draw.uniform(-0.6, 0.6)
    layout, still_life = place.arrange(draw, where, select(kinds))
    placed = [thing.turned(yaw) for thing in layout]
    corners = np.concatenate([thing.corners for thing in placed])
    focus = place.focus(draw.fork("focus"), placed) if still_life else corners
    camera = shoot(draw.fork("camera"), focus, yaw, still_life)
    sun = light.lighting(draw.fork("light"), where, yaw, corners)
    around = backdrop.surround(draw.fork("backdrop"), where, corners, camera, sun)
    scenery = stage.build([(thing.mesh(), thing.item.kind.class_id) for thing in placed], around, camera)

    scenery, placed, survey = _cleared(scenery, placed)
    rough = truth.objects(placed, camera, survey, _SURVEY)
    relations, named = truth.relations(rough), truth.named(rough)
    above = bool(camera.rotation[2, 1] >= np.sin(STEEP))
    setting = Setting(where, around.ground, sun.name, around.wall, around.view, above)
    text = caption.describe(draw.fork("caption"), rough, named, relations, setting)

    grid = Grid.halves(size)
    seen = scenery.look(size, grid)
    middle = seen.middle(size)
    surfaces = scenery.surfaces(seen, size, grid)
    shadows = light.cast(scenery.mesh, scenery.mesh.faces[scenery.owner >= 0], sun.towards)
    linear = shade.lit(surfaces, sun, shadows, haze=where == "outdoors")
    sky = np.flatnonzero(seen.sky)
    linear[:, sky] = shade.sky(surfaces.view[:, sky], sun)
    return Scene(
        seed=seed, index=index,
        rgb=shade.developed(linear, size),
        depth=middle.depth.reshape(size, size),
        normal=_normals(surfaces.normal, middle, camera, size),
        semseg=scenery.label(middle, _SKY).astype(np.uint8).reshape(size, size),
        instance=(middle.owner + 1).astype(np.uint8).reshape(size, size),
        objects=truth.objects(placed, camera, middle, size, rough),
        relations=relations, named=named, camera=camera, setting=setting, caption=text,
    )  # fmt: skip


def _cleared(scenery: stage.Stage, placed: Sequence[Placed]) -> tuple[stage.Stage, list[Placed], stage.Seen]:
    """Without the things that hardly show, and what remains to be seen at the size of the survey."""
    grid = Grid.centers(_SURVEY)
    survey = scenery.look(_SURVEY, grid)
    counts = np.bincount(survey.owner + 1, minlength=len(placed) + 1)[1:]
    needed = {thing.support for thing in placed} | {int(counts.argmax())}
    kept = [k for k in range(len(placed)) if k in needed or counts[k] >= _VISIBLE * _SURVEY**2]
    if len(kept) == len(placed):
        return scenery, list(placed), survey
    rank: dict[int | None, int] = {old: new for new, old in enumerate(kept)}
    left = [attrs.evolve(placed[k], support=rank.get(placed[k].support)) for k in kept]
    scenery = scenery.keeping(kept)
    return scenery, left, scenery.look(_SURVEY, grid)


def _normals(normal: shade.Floats32, middle: stage.Seen, camera: Camera, size: int) -> NDArray[np.float32]:
    """Normals (size, size, 3) in the camera's frame, from those of all samples (3, n) in the world; zero in the sky."""
    side = 2 * size + 1
    world = normal.reshape(3, side, side)[:, 1::2, 1::2].reshape(3, -1)
    seen = np.stack([dot(axis, world) for axis in camera.rotation.astype(np.float32)])
    seen /= np.maximum(np.sqrt(dot(seen, seen)), np.float32(1e-6))
    seen[:, middle.sky] = 0
    return np.ascontiguousarray(seen.T).reshape(size, size, 3)
