"""Pictures in a folder for each class, as ImageNet has them, with a split of their own or without one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import attrs

from anymodal.errors import DataError, system_errors

LEARNED, HELD_OUT = ("train",), ("val", "valid", "validation", "test")


@attrs.frozen
class ClassFolders:
    """Files and the names of their classes; `learned` says which are to be learned from, where folders say so."""

    files: tuple[Path, ...]
    labels: tuple[str, ...]
    learned: tuple[bool, ...] | None
    passed_over: tuple[str, ...]


@system_errors(DataError)
def read_class_folders(root: Path, suffixes: Collection[str]) -> ClassFolders:
    """DATA/CLASS/FILE, or DATA/train/CLASS/FILE and DATA/val/CLASS/FILE (or "valid", "validation", "test").

    Args:
        root: DATA.
        suffixes: of the files that are read, in any case; others are passed over, and named.

    Raises:
        DataError: there are no two classes with such files, or a split has a class that is not learned from.
    """
    if not root.is_dir():
        raise DataError(f"no such folder: {root}")
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    learned = next((folders[name] for name in LEARNED if name in folders), None)
    held_out = next((folders[name] for name in HELD_OUT if name in folders), None)
    if learned is None or held_out is None:
        files, labels, others = _classes(root, suffixes)
        _check(root, set(labels))
        return ClassFolders(tuple(files), tuple(labels), None, tuple(others))
    files, labels, others = _classes(learned, suffixes)
    more, their_labels, their_others = _classes(held_out, suffixes)
    _check(learned, set(labels))
    _check(held_out, set(their_labels), least=1)
    if strange := set(their_labels) - set(labels):
        raise DataError(f"{held_out} has a class {min(strange)!r} that {learned} has not")
    split = (True,) * len(files) + (False,) * len(more)
    return ClassFolders((*files, *more), (*labels, *their_labels), split, (*others, *their_others))


def _classes(root: Path, suffixes: Collection[str]) -> tuple[list[Path], list[str], list[str]]:
    """The files of all classes, their classes, and what is passed over."""
    files: list[Path] = []
    labels: list[str] = []
    others: list[str] = []
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or folder.name.startswith("."):
            others += [] if folder.name.startswith(".") else [str(folder)]
            continue
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in suffixes and path.is_file():
                files.append(path)
                labels.append(folder.name)
            elif not path.name.startswith("."):
                others.append(str(path))
    return files, labels, others


def _check(root: Path, classes: Collection[str], least: int = 2) -> None:
    if len(classes) < least:
        found = ", ".join(sorted(classes)) or "none"
        raise DataError(f"{root} has no folder for each of {least} classes or more with files to read: {found}")
