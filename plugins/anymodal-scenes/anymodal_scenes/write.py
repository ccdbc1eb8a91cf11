"""Scenes as folders of files: root/MODALITY/NAME.ext, every file whole or absent, finished scenes never made again."""

from __future__ import annotations

import ctypes
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anymodal.durable import make_folder, write_all
from anymodal.errors import DataError, brief, cause
from anymodal.files import only_writer, read_json, remove_partial, write_json

from .catalog import select
from .coco import CLASSES, is_thing
from .meshes import about_y
from .scene import VERSION, render
from .types import FAR, Scene

FOLDERS = {
    "rgb": "png", "depth": "png", "normal": "png", "semseg": "png", "instance": "png", "det": "json",
    "boxes3d": "json", "human_poses": "json", "camera": "json", "caption": "txt", "scene": "json",
}  # fmt: skip
"""Folders and file endings; `scene` is written last and marks a finished scene."""
RECORD = ".scenes.json"  # of what all scenes of a folder have in common
_CHUNK = 32
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def write(
    root: Path,
    count: int,
    seed: int,
    size: int = 64,
    workers: int | None = None,
    start: int = 0,
    progress: Callable[[int], None] | None = None,
    kinds: Iterable[str] | None = None,
) -> None:
    """Render scenes `start` .. `start + count - 1` of a seed into folders below `root`; `kinds` as in `render`.

    Scenes whose `scene/NAME.json` exists are skipped, so a run that was stopped can be taken up again.
    `workers` processes share the work (all cores when None, no extra process for 1); `progress` is called with the
    number of scenes finished since its last call. Raises DataError where the folder cannot be written, holds other
    scenes, or is being written by another run.
    """
    root = Path(root)
    names = None if kinds is None else tuple(kinds)
    select(names)
    with only_writer(root):
        _begin(root, {"version": VERSION, "seed": seed, "size": size, "kinds": names and sorted(names)})
        _write_all(root, range(start, start + count), seed, size, workers, progress or (lambda done: None), names)


def _begin(root: Path, wanted: dict[str, Any]) -> None:
    """Make the folders, remove what killed runs left, and note what the scenes are. Raises DataError for others."""
    there = root / RECORD
    first = next((root / "scene").glob("*.json"), None)
    if not there.exists() and first is None and (others := _others(root)):
        raise DataError(f"{root} holds other things ({', '.join(others[:3])}); choose another folder for --out")
    try:
        for folder in FOLDERS:
            make_folder(root / folder)
            remove_partial(root / folder)
    except OSError as error:
        raise DataError(f"cannot create folders below {root}: {cause(error)}; choose another folder") from error
    found = read_json(there) if there.exists() else read_json(first) if first else wanted
    for key, value in wanted.items():
        held = found.get(key, value) if isinstance(found, dict) else None
        if held != value:
            raise DataError(f"{root} holds scenes of {key} {brief(held)}, not {value}; choose another folder for these")
    write_json(wanted, there)


def _others(root: Path) -> list[str]:
    """What lies in a folder, but for hidden files and empty folders of scenes."""
    visible = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    return [path.name for path in visible if path.name not in FOLDERS or not path.is_dir() or any(path.iterdir())]


def _write_all(
    root: Path,
    indices: range,
    seed: int,
    size: int,
    workers: int | None,
    report: Callable[[int], None],
    names: tuple[str, ...] | None,
) -> None:
    chunks = [indices[first : first + _CHUNK] for first in range(0, len(indices), _CHUNK)]
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(chunks) < 2:
        for chunk in chunks:
            report(_write_chunk(root, chunk, seed, size, names))
        return
    with ProcessPoolExecutor(min(workers, len(chunks)), initializer=_keep_memory) as pool:
        for job in as_completed([pool.submit(_write_chunk, root, chunk, seed, size, names) for chunk in chunks]):
            report(job.result())


def _keep_memory() -> None:
    """Let glibc keep the memory of freed arrays: giving it back and fetching it anew costs a fifth of the time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**28)
        mallopt(_TRIM_THRESHOLD, 2**29)


def _write_chunk(root: Path, indices: range, seed: int, size: int, kinds: tuple[str, ...] | None) -> int:
    """Render and save the scenes that are missing; returns how many are there now."""
    missing = (index for index in indices if not (root / "scene" / f"{index:08d}.json").exists())
    save(root, (render(seed, index, size, kinds) for index in missing))
    return len(indices)


def save(root: Path, scenes: Iterable[Scene]) -> None:
    """Write all files of scenes below `root`, whose folders exist; their records come last, when the rest is on disk.

    Raises DataError.
    """
    records: dict[Path, bytes] = {}

    def others() -> Iterator[tuple[Path, bytes]]:
        for scene in scenes:
            for folder, content in contents(scene).items():
                path = root / folder / f"{scene.index:08d}.{FOLDERS[folder]}"
                if folder == "scene":
                    records[path] = content
                else:
                    yield path, content

    try:
        write_all(others())
        write_all(records.items())
    except OSError as error:
        raise DataError(f"cannot write to {root}: {cause(error)}; free some space or choose another folder") from error


def contents(scene: Scene) -> dict[str, bytes]:
    """The bytes of every file of a scene, by folder."""
    depth = np.rint(scene.depth.astype(np.float64) / FAR * 65535).astype(np.uint16)
    normal = np.rint((scene.normal + 1) * 127.5).astype(np.uint8)
    return {
        "rgb": _png(scene.rgb),
        "depth": _png(depth),
        "normal": _png(normal),
        "semseg": _png(scene.semseg),
        "instance": _png(scene.instance),
        "det": _json({"instances": _instances(scene)}),
        "boxes3d": _json(_solids(scene)),
        "human_poses": _json(_people(scene)),
        "camera": _json(_camera(scene)),
        "caption": scene.caption.encode(),
        "scene": _json(_record(scene)),
    }


def _png(picture: np.ndarray) -> bytes:
    """A quickly compressed PNG: 8-bit gray or RGB, or 16-bit gray, by the type of the array."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _rounded(values: Any, digits: int = 5) -> Any:
    """Nested lists of short numbers."""
    return np.round(np.asarray(values, np.float64), digits).tolist()


def _instances(scene: Scene) -> list[dict[str, Any]]:
    """Boxes of the things (not stuff) that have pixels."""
    return [
        {"boxes": list(thing.box), "class_name": CLASSES[thing.class_id], "score": 1.0}
        for thing in scene.objects
        if is_thing(thing.class_id) and thing.area > 0
    ]


def _solids(scene: Scene) -> dict[str, Any]:
    """Boxes in space of the things that have pixels, in the frame of the camera: x to the right, y down, z away.

    `size` is in meters along the box's own axes, which are the columns of `rotation`: across, down and away.
    """
    camera, down = scene.camera, np.diag([1.0, -1.0, -1.0])
    boxes = []
    for thing in scene.objects:
        if not is_thing(thing.class_id) or thing.area <= 0:
            continue
        middle = np.array(thing.position) + (0.0, thing.extent[1] / 2, 0.0)
        center = down @ camera.rotation @ (middle - camera.eye)
        rotation = down @ camera.rotation @ about_y(thing.heading) @ down
        boxes.append(
            {
                "class_name": CLASSES[thing.class_id], "center": _rounded(center, 4), "size": _rounded(thing.extent, 4),
                "rotation": _rounded(rotation, 6),
            }
        )  # fmt: skip
    return {"focal": round(camera.focal, 6), "boxes": boxes}


def _people(scene: Scene) -> dict[str, Any] | list[Any]:
    """Bodies in the layout of 4D-Humans' output, boxes in pixels; an empty list where nobody is."""
    people = [(thing, thing.pose) for thing in scene.objects if thing.pose is not None and thing.area > 0]
    if not people:
        return []
    poses = [pose for _, pose in people]
    return {
        "img_size": [len(scene.rgb)] * 2,
        "bbox_xyxy": [_rounded(np.array(thing.box) * len(scene.rgb), 2) for thing, _ in people],
        "pred_smpl_params": {
            "global_orient": [[_rounded(pose.global_orient)] for pose in poses],
            "body_pose": [_rounded(pose.body_pose) for pose in poses],
            "betas": [_rounded(pose.betas) for pose in poses],
        },
        "pred_cam": [_rounded(pose.camera) for pose in poses],
        "joints": [_rounded(pose.joints, 4) for pose in poses],
        "joints_2d": [_rounded(pose.joints_2d, 4) for pose in poses],
    }


def _camera(scene: Scene) -> dict[str, Any]:
    camera = scene.camera
    return {
        "fov": round(camera.fov, 5), "focal": round(camera.focal, 6),
        "rotation": _rounded(camera.rotation, 6), "eye": _rounded(camera.eye),
    }  # fmt: skip


def _record(scene: Scene) -> dict[str, Any]:
    """What the scene is made of, for evaluation."""
    setting = scene.setting
    return {
        "version": VERSION,
        "seed": scene.seed,
        "index": scene.index,
        "size": len(scene.rgb),
        "setting": {
            "place": setting.place, "ground": setting.ground, "light": setting.light, "wall": setting.wall,
            "backdrop": setting.backdrop, "above": setting.above,
        },
        "objects": [
            {
                "kind": thing.kind, "class_name": CLASSES[thing.class_id], "color": thing.color,
                "box": list(thing.box), "area": round(thing.area, 6), "depth": round(thing.depth, 4),
                "position": _rounded(thing.position, 4), "support": thing.support,
                "action": thing.pose.action if thing.pose else None,
            }
            for thing in scene.objects
        ],
        "relations": [[r.subject, r.predicate, r.other] for r in scene.relations],
        "named": list(scene.named),
        "caption": scene.caption,
    }  # fmt: skip
