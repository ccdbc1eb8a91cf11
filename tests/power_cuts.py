"""A disk whose power may be cut: at every sync, rename and removal, what a power cut would leave is remembered.

Contents count once they were synced, and are empty before. Names are either all there at once (as ext4 may have them,
before the contents), or only as they were when their folder was last synced.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Names = dict[str, int]


class Disk:
    """What a folder, which is empty at first, would hold after power cuts; `left` yields every different state once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder.stat().st_ino
        self.contents: dict[int, bytes] = {}  # of files that were synced
        self.listed: dict[int, Names] = {self.root: {}}  # of folders that were synced
        self.states: dict[tuple[Any, ...], dict[str, bytes | None]] = {}
        self.history: list[int] = []  # which of the states was left, cut by cut
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.open: dict[int, int] = {}  # keeps inodes from being used again

    def synced(self, handle: int) -> None:
        status = os.fstat(handle)
        if status.st_ino not in self.open:
            self.open[status.st_ino] = os.dup(handle)
        if stat.S_ISDIR(status.st_mode):
            self.listed[status.st_ino] = {name: os.stat(name, dir_fd=handle).st_ino for name in os.listdir(handle)}
        else:
            self.contents[status.st_ino] = Path(f"/proc/self/fd/{handle}").read_bytes()

    def cut(self) -> None:
        """Remember what a power cut would leave now."""
        present = {path.stat().st_ino: _names(path) for path in [self.folder, *self.folder.rglob("*")] if path.is_dir()}
        for names in (present, self.listed):
            found = dict(self._walk(self.root, "", names, {*present, *self.listed}))
            key = tuple(sorted(found.items()))
            self.states.setdefault(key, found)
            self.numbers.setdefault(key, len(self.numbers))
            self.history.append(self.numbers[key])

    def _walk(
        self, inode: int, above: str, names: dict[int, Names], folders: set[int]
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, each in names.get(inode, {}).items():
            if each in folders:
                yield f"{above}{name}", None
                yield from self._walk(each, f"{above}{name}/", names, folders)
            else:
                yield f"{above}{name}", self.contents.get(each, b"")

    def left(self, within: Path) -> Iterator[Path]:
        """Folders that hold what each power cut would have left."""
        for number, found in enumerate(self.states.values()):
            root = within / str(number)
            root.mkdir(parents=True)
            for name, content in sorted(found.items()):
                if content is None:
                    (root / name).mkdir()
                else:
                    (root / name).write_bytes(content)
            yield root
            shutil.rmtree(root)


def _names(folder: Path) -> Names:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


@contextmanager
def power_cuts(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Watch what is written into a new folder while the block runs."""
    folder.mkdir()
    disk = Disk(folder)

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            result = function(*words, **options)
            disk.cut()
            return result

        return call

    fsync = os.fsync

    def synced(handle: int) -> None:
        fsync(handle)
        disk.synced(handle)

    with patch.context() as changed:
        changed.setattr(os, "fsync", watched(synced))
        for name in ("rename", "replace", "unlink", "rmdir", "link"):
            changed.setattr(os, name, watched(getattr(os, name)))
        try:
            yield disk
        finally:
            for handle in disk.open.values():
                os.close(handle)
