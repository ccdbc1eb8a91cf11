"""What a power cut leaves of a folder: what was synced, and of what was not, what the worst of file systems keeps.

A file has the content it had when it was last synced; one that never was is empty. Of names there are three kinds of
file systems: those that have written every change of names by then, those that write the names there are with each
sync of anything (as journals do), and those that write the names of a folder when that folder is synced.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMES = ("every", "journal", "synced")


class Disk:
    """Notes, in the process of a run, what it syncs of a folder. `notes` is a folder of its own on the same disk."""

    def __init__(self, out: Path, notes: Path) -> None:
        self.out, self.notes = out, notes
        self.lock = threading.Lock()
        self.sync, self.file = os.fsync, -1

    def watch(self) -> None:
        (self.notes / "kept").mkdir(parents=True)
        self.file = os.open(self.notes / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with self.lock:
            for path in self._names():
                self._note({"file": _state(path)} if path.is_file() else {"folder": self._folder(path)})
            self._note({"names": self._tree()})
        os.fsync = os.fdatasync = self._synced  # type: ignore[assignment]

    def _synced(self, file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        self.sync(number)
        path = Path(f"/proc/self/fd/{number}").readlink()
        if path != self.out and self.out not in path.parents:
            return
        with self.lock:
            names = self._tree()
            self._note({"file": _state(path)} if path.is_file() else {"folder": self._folder(path)})
            self._note({"names": names})

    def _names(self) -> list[Path]:
        return [self.out, *self.out.rglob("*")] if self.out.exists() else []

    def _tree(self) -> dict[str, int]:
        """Every name with its inode; files are kept alive beside."""
        found = {}
        for path in self._names():
            with suppress(FileNotFoundError):
                found[str(path.relative_to(self.out))] = self._inode(path)
        return found

    def _folder(self, path: Path) -> dict[str, Any]:
        inside = {}
        for each in path.iterdir():
            with suppress(FileNotFoundError):
                inside[each.name] = self._inode(each)
        return {"inode": path.stat().st_ino, "inside": inside}

    def _inode(self, path: Path) -> int:
        number = path.stat().st_ino
        if path.is_file():
            with suppress(FileExistsError):
                os.link(path, self.notes / "kept" / str(number))
        return number

    def _note(self, note: dict[str, Any]) -> None:
        os.write(self.file, json.dumps(note).encode() + b"\n")


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def cut(out: Path, notes: Path, kind: str) -> None:
    """Leave of a folder what a power cut leaves, with the names of a kind of file systems."""
    synced: dict[int, list[int]] = {}
    folders: dict[int, dict[str, int]] = {}
    names: dict[str, int] = {}
    if not (notes / "log").exists():  # the run was killed before anything was watched, or changed
        return
    for line in (notes / "log").read_bytes().splitlines():
        try:
            note = json.loads(line)
        except ValueError:  # of the moment of the cut
            continue
        if "file" in note:
            synced[note["file"][0]] = note["file"][1:]
        elif "folder" in note:
            folders[note["folder"]["inode"]] = note["folder"]["inside"]
        else:
            names = note["names"]
    if kind == "every":
        names = {str(path.relative_to(out)): path.stat().st_ino for path in [out, *out.rglob("*")] if path.exists()}
    elif kind == "synced":
        names = _reached(names.get("."), folders)
    files = {path.stat().st_ino: path for path in [*out.rglob("*"), *(notes / "kept").iterdir()] if path.is_file()}
    left = notes / "left"
    left.mkdir()
    for name, inode in sorted(names.items()):
        if inode in files:
            (left / name).parent.mkdir(parents=True, exist_ok=True)
            (left / name).write_bytes(_content(files[inode], synced.get(inode)))
        else:
            (left / name).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    if names:
        left.rename(out)


def _reached(inode: int | None, folders: dict[int, dict[str, int]]) -> dict[str, int]:
    """The names that are reached from a folder by those that were synced."""
    found: dict[str, int] = {} if inode is None else {".": inode}
    waiting = [("", inode)] if inode is not None else []
    while waiting:
        place, number = waiting.pop()
        for name, inside in folders.get(number, {}).items():
            found[f"{place}{name}"] = inside
            waiting.append((f"{place}{name}/", inside))
    return found


def _content(path: Path, synced: list[int] | None) -> bytes:
    """A file's content if it is as it was when it was synced; else as much as it had then, which logs still have."""
    return path.read_bytes()[: synced[0]] if synced else b""
