"""Folders whose files are replaced as one: whatever interrupts it, the old files are there or the new ones."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anymodal.durable import PREFIX, put, sync, sync_tree, unsynced
from anymodal.errors import DataError, system_errors
from anymodal.files import LOCK, only_writer

SAVED = f"{PREFIX}saved"


def whole_folder(folder: Path) -> Path:
    """Where the files of a folder are read: in itself, or in SAVED if the last `replacing_folder` was cut short."""
    saved = folder / SAVED
    return saved if saved.is_dir() else folder


@contextmanager
def replacing_folder(folder: Path, owned: Callable[[Path], Iterable[str]], last: str = "config.json") -> Iterator[Path]:
    """A temporary folder; its files take their places in `folder` when the block ends without an error, all or none.

    They are written to disk and renamed to SAVED as one, which is the moment they count: `whole_folder` finds them
    there until they are linked to their places, so a process that is killed, or a power cut, leaves the old files or
    the new ones. Other files in `folder` stay as they are.

    Args:
        folder: the folder, made if need be.
        owned: gives glob patterns of the files that what lies in a folder consists of; those that are not written anew
            are removed.
        last: the file that takes its place last.

    Raises:
        DataError: the folder cannot be written, or another process is writing to it.
    """
    with only_writer(folder), system_errors(DataError, f"cannot write to {folder}"):
        staging = folder / f"{PREFIX}saving-{secrets.token_hex(4)}"
        try:
            staging.mkdir()
            with unsynced(staging):
                yield staging
            _check_places(staging, folder)
            sync_tree(staging)
            _settle(folder, owned, last)  # of a process that was killed before
            put(staging, folder / SAVED)
            _settle(folder, owned, last)
            for path in folder.glob(f"{PREFIX}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A temporary path for a large file, which takes the place of `path` when the block ends without an error.

    One process at a time writes to `path`, so that the next one removes what a killed one left. Raises DataError.
    """
    staging = path.parent / f".saving-{path.name}"
    with only_writer(staging), system_errors(DataError, f"cannot write {path}"):
        try:
            _empty(staging)
            with unsynced(staging):
                yield staging / path.name
            sync(staging / path.name)
            put(staging / path.name, path)
        finally:
            _empty(staging)
    with suppress(OSError):
        staging.rmdir()  # of a process that was killed before


def _empty(staging: Path) -> None:
    for left in staging.iterdir():
        if left.name != LOCK:
            left.unlink()


def _check_places(staging: Path, folder: Path) -> None:
    """Raise OSError if a file would have to take the place of a folder, or a folder that of a file."""
    for path in staging.rglob("*"):
        place = folder / path.relative_to(staging)
        if place.exists() and place.is_dir() != path.is_dir():
            raise FileExistsError(f"{place} is {'a folder' if place.is_dir() else 'a file'}")


def _settle(folder: Path, owned: Callable[[Path], Iterable[str]], last: str) -> None:
    """Link the files in SAVED to their places and remove those of before; may be cut short and done again."""
    saved = folder / SAVED
    if not saved.is_dir():
        return
    names = [path.relative_to(saved) for path in saved.rglob("*") if path.is_file()]
    names.sort(key=lambda name: (name == Path(last), name))
    patterns = {pattern for root in (folder, saved) for pattern in owned(root)}
    for stale in {path for pattern in patterns for path in folder.glob(pattern)} - {folder / name for name in names}:
        _remove(stale, folder)
    for name in names:
        _link(saved / name, folder / name, folder / f"{PREFIX}linking")
    for place in {parent for name in names for parent in (folder / name).parents if parent.is_relative_to(folder)}:
        sync(place)
    saved.rename(folder / f"{PREFIX}done-{secrets.token_hex(4)}")


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders that are empty then; nothing where a link leads out of `folder`."""
    if path.is_file() and path.parent.resolve().is_relative_to(folder.resolve()):
        path.unlink()
        for parent in path.parents:
            if parent == folder or any(parent.iterdir()):
                return
            parent.rmdir()


def _link(source: Path, target: Path, temporary: Path) -> None:
    """Make `target` the same file as `source`, or a copy where there are no links."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, temporary)
        sync(temporary)
    temporary.replace(target)
