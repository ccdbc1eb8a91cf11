"""Checkpoints of a run as they are found on disk: which of them are whole, and what their state.json says.

state.json lists every file with size and sha256, and has a hash of its own, so that no damage goes unnoticed. What
cannot be trusted is passed over in favor of an older checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.config import structure
from anymodal.data.digest import digest
from anymodal.data.jobs.receipts import Checksum
from anymodal.data.schema import is_checksum, is_count
from anymodal.errors import AnymodalError, CheckpointError, brief, cause, legible
from anymodal.files import read_object, write_json
from anymodal.training.progress import Progress

STATE_FILE = "state.json"
FINISHED = re.compile(r"step-\d{8,12}")
MOMENT = 3.0  # seconds; file systems note times in steps of up to two
MOST_KNOWN = 256  # checkpoints whose hashes were compared
FALL_BACK = "delete it to fall back on an older one"

log = logging.getLogger("anymodal")
_known: dict[tuple[Any, ...], str] = {}


def write_state(folder: Path, state: Mapping[str, Any], files: Mapping[str, Checksum]) -> None:
    """Write state.json of the checkpoint in a folder, whose files these are. Raises DataError."""
    content = {**state, "files": {name: attrs.asdict(each) for name, each in sorted(files.items())}}
    content = json.loads(json.dumps(content))  # as it will be read
    write_json({**content, "sha256": digest(content)}, folder / STATE_FILE)


def read_state(path: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint whose files have the right sizes. Raises CheckpointError, also for another field.

    `what_is_damaged` compares hashes too.
    """
    state = read_object(path / STATE_FILE)
    files = state.get("files")
    if not isinstance(files, dict) or not all(map(_is_name, files)) or not all(map(is_checksum, files.values())):
        raise _damaged(path, "files", files)
    for name, each in files.items():
        try:
            size = (path / name).stat().st_size
        except OSError as error:
            raise CheckpointError(f"{path} is incomplete: {name}: {cause(error)}; {FALL_BACK}.") from None
        if size != each["size"]:
            raise CheckpointError(f"{path} is incomplete: {name} has {size} bytes, not {each['size']}; {FALL_BACK}.")
    for name, fits in _FIELDS.items():
        if name in state and not fits(state[name]):
            raise _damaged(path, name, state[name])
    if FINISHED.fullmatch(path.name) and state.get("step") != int(path.name.removeprefix("step-")):
        raise _damaged(path, "step", state.get("step"))
    if digest({name: value for name, value in state.items() if name != "sha256"}) != state.get("sha256"):
        raise _damaged(path, "sha256", state.get("sha256"))
    return state


def _damaged(path: Path, name: str, value: Any) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {name!r} of {STATE_FILE} cannot be {brief(value, 60)}; {FALL_BACK}.")


def what_is_damaged(path: Path) -> str:
    """What is wrong with a checkpoint, with the file or field; empty if all its files are those that were written.

    Contents are compared once in a process, and again when a file changes.
    """
    try:
        state = read_state(path)
        key = identity(path, state)
        if key not in _known:
            damage = _other_content(path, state)
            if not _is_fresh(path, state):
                _remember(key, damage)
            return damage
        return _known[key]
    except AnymodalError as error:
        return str(error)
    except OSError as error:
        return f"{path} is damaged: {cause(error)}"


def _remember(key: tuple[Any, ...], damage: str) -> None:
    while len(_known) >= MOST_KNOWN:
        _known.pop(next(iter(_known)), None)
    _known[key] = damage


def identity(path: Path, state: Mapping[str, Any]) -> tuple[Any, ...]:
    """What changes when a file of a checkpoint does, unless that is within a moment. Raises OSError."""
    found = [(path / name).stat() for name in state["files"]]
    return state["sha256"], *((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def _is_fresh(path: Path, state: Mapping[str, Any]) -> bool:
    """Whether a file is so new that another change may leave it the same time."""
    return max(((path / name).stat().st_mtime for name in state["files"]), default=0.0) > time.time() - MOMENT


def _other_content(path: Path, state: Mapping[str, Any]) -> str:
    for name, each in state["files"].items():
        if not Checksum(**each).fits([path / name]):
            return f"{path} is damaged: the content of {name} is not what was written; {FALL_BACK}."
    return ""


def finished(folder: Path) -> list[Path]:
    """The checkpoints in a folder in the order of their steps, whole or not."""
    try:
        found = [path for path in folder.iterdir() if FINISHED.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {cause(error)}") from None
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def newest_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint with the highest step, or None. A warning tells which are damaged and passed over."""
    return next((path for path in reversed(finished(folder)) if _is_whole(path)), None)


def best_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint with the lowest loss in the evaluation, or None if none was evaluated."""
    scored = [(score, path) for path in finished(folder) if (score := score_of(path)) is not None]
    return next((path for _, path in sorted(scored) if _is_whole(path)), None)


def check_any_whole(folder: Path) -> None:
    """Raise CheckpointError if there are checkpoints, and none that is whole."""
    if (found := finished(folder)) and newest_checkpoint(folder) is None:
        raise CheckpointError(
            f"{found[-1]} is damaged, and no older one is left; delete {folder} to start anew"
            f" ({what_is_damaged(found[-1])})"
        )


def score_of(path: Path) -> float | None:
    """The loss of the evaluation at a checkpoint; None if there was none, or if it is damaged."""
    try:
        score: float | None = read_state(path).get("score")
    except AnymodalError:
        return None
    return math.inf if score is not None and math.isnan(score) else score


def _is_whole(path: Path) -> bool:
    if damage := what_is_damaged(path):
        log.warning("%s", legible(damage.removesuffix(f"; {FALL_BACK}.")) + "; it is passed over")
    return not damage


def _is_name(name: str) -> bool:
    return name.isprintable() and Path(name).name == name and name != STATE_FILE


def _is_progress(value: Any) -> bool:
    try:
        progress = structure(value, Progress, STATE_FILE)
    except AnymodalError:
        return False
    counts = (progress.step, progress.skipped, progress.bad, progress.skipped_in_a_row)
    return all(map(is_count, counts)) and progress.skipped <= progress.step and math.isfinite(progress.usual)


def _are_means(value: Any) -> bool:
    """Whether these are sums and counts of metrics by name, as `MetricMeans.sums` gives them."""
    rows = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(row, list) and len(row) == 2 and _is_float(row[0]) and is_count(row[1]) for row in rows)


def _is_float(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "step": is_count,
    "settings": lambda value: isinstance(value, dict),
    "fingerprint": lambda value: isinstance(value, dict),
    "progress": _is_progress,
    "score": lambda value: value is None or _is_float(value),
    "means": _are_means,
}
