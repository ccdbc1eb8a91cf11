"""What a power cut must not take: contents are on disk before their names are, and names before others are removed.

A rename alone keeps files whole for a process that is killed. The disk may hold the new name before the content that it
stands for, so contents are synced first, then the rename, then the folder that the name is in.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".anymodal-"  # of the names of all that is temporary in a folder of the user's
UNABLE = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}  # file systems that cannot sync folders, for example
THREADS = 8
READABLE = 0o644
_scratch: set[Path] = set()


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, written to disk. Raises OSError where a file cannot be."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # on Windows, and where its names may not be listed
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    finally:
        os.close(handle)


def sync_all(paths: Iterable[Path]) -> None:
    """Have many files written to disk, and then their names. Raises OSError.

    File systems write down what several threads wait for as one, which is some 15 times as fast (ext4).
    """
    from concurrent.futures import ThreadPoolExecutor

    files = list(paths)
    with ThreadPoolExecutor(min(THREADS, len(files) or 1)) as pool:
        for group in (files, {path.parent for path in files}):
            list(pool.map(sync, group))


def sync_tree(folder: Path) -> None:
    """Have all files and folders below a folder, and itself, written to disk. Raises OSError."""
    sync_all(folder.rglob("*"))
    sync(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, whose names are on disk then. Raises OSError."""
    if folder.is_dir():
        return
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        sync(path.parent)


def put(source: Path, target: Path) -> None:
    """Give a file or a folder, whose contents are on disk, the name `target`, which is on disk then. Raises OSError."""
    source.replace(target)
    sync(target.parent)


def write_all(files: Iterable[tuple[Path, bytes]]) -> None:
    """Write many files, each whole or not at all: all contents are on disk before any has its name. Raises OSError."""
    written: list[tuple[Path, Path]] = []
    try:
        for path, content in files:
            make_folder(path.parent)
            temporary = temporary_file(path)
            written.append((temporary, path))
            temporary.write_bytes(content)
            temporary.chmod(READABLE)
        sync_all(temporary for temporary, _ in written)
        for temporary, path in written:
            temporary.replace(path)
        for place in {path.parent for _, path in written}:
            sync(place)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)


def temporary_file(path: Path) -> Path:
    """A new file beside `path`, with a name of ours and the same ending. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{PREFIX}{path.stem[:40]}-", suffix=path.suffix)
    os.close(handle)
    return Path(name)


@contextmanager
def scratch(within: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """A temporary folder; what is written into it is not synced, since nobody will look for it after a power cut."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=within) as name, unsynced(Path(name)) as folder:
        yield folder


@contextmanager
def unsynced(folder: Path) -> Iterator[Path]:
    """Leave it to the body to sync what is written below `folder`."""
    _scratch.add(folder)
    try:
        yield folder
    finally:
        _scratch.discard(folder)


def is_scratch(path: Path) -> bool:
    """Whether what is written there need not be synced."""
    return bool(_scratch) and not _scratch.isdisjoint(path.parents)
