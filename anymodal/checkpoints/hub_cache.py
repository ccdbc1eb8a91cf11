"""One repository in the Hub's cache on disk, in the layout of huggingface_hub, and which of its files were verified.

snapshots/COMMIT/NAME link to blobs/ETAG, refs/BRANCH hold commits, .no_exist/COMMIT/NAME mark files a commit lacks.
.anymodal/verified/ETAG is ours: the state in which the content of a blob was found to have the hash that names it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs

from anymodal.errors import CheckpointError, DataError
from anymodal.files import write_text

SHA256, COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
LONGEST_NAME = 255


def is_plain(name: str) -> bool:
    """Whether a name of a file, with slashes, stays in its folder and can be one on any system."""
    parts = name.split("/")
    fits = all(part not in ("", ".", "..") and len(part.encode("utf-8", "replace")) <= LONGEST_NAME for part in parts)
    return fits and name.isprintable() and "\\" not in name and ":" not in name


def check_name(name: str) -> str:
    """The name of a file of a checkpoint, with slashes. Raises CheckpointError for one that leads elsewhere."""
    if not is_plain(name):
        raise CheckpointError(f"{name!r:.200} cannot be the name of a file of a checkpoint")
    return name


@attrs.frozen
class RepositoryCache:
    """The folder ``models--ORGANIZATION--NAME`` of a cache. The names of files and revisions are plain."""

    root: Path

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit stood for when it was last asked for."""
        if COMMIT.fullmatch(revision):
            return revision
        try:
            with (self.root / "refs" / revision).open(encoding="ascii") as file:
                text = file.read(100).strip()
        except (OSError, ValueError):
            return None
        return text if COMMIT.fullmatch(text) else None

    def find(self, commit: str, name: str) -> Path | None:
        """A file of a commit."""
        path = self._file(commit, name)
        return path if path.is_file() else None

    def lacks(self, commit: str, name: str) -> bool:
        """Whether it is known that a commit has no such file."""
        return (self.root / ".no_exist" / commit / name).is_file()

    def blob(self, etag: str) -> Path:
        """Where the content with that etag lies."""
        return self.root / "blobs" / etag

    def note_missing(self, commit: str, name: str) -> None:
        """Remember that a commit has no such file, if the cache can be written to."""
        with suppress(OSError):
            mark = self.root / ".no_exist" / commit / name
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()

    def note_commit(self, revision: str, commit: str) -> None:
        """Remember which commit a branch or tag stands for, if the cache can be written to."""
        if revision != commit and self.commit_of(revision) != commit:
            _write(commit, self.root / "refs" / revision)

    def link(self, commit: str, name: str, etag: str) -> Path:
        """Let a file of a commit be the content with that etag: a link, or a copy where there are no links."""
        from shutil import copyfile

        path, blob = self._file(commit, name), self.blob(etag)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{etag[:16]}-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            temporary.symlink_to(os.path.relpath(blob, path.parent))
        except (OSError, NotImplementedError):
            copyfile(blob, temporary)
        temporary.replace(path)
        return path

    def is_whole(self, path: Path) -> bool:
        """Whether a file of a commit has the hash that names its content; computed once for each state of the file.

        What is named by no hash, as mirrors do, counts as whole.
        """
        try:
            etag = path.readlink().name
        except OSError:
            return True
        if hasher(etag, 0) is None:
            return True
        with suppress(OSError, ValueError):
            if self._mark(etag).read_text(encoding="ascii") == _state(path):
                return True
        if not has_hash(path, etag):
            return False
        self.note_whole(path, etag)
        return True

    def note_whole(self, path: Path, etag: str) -> None:
        """Remember that a file, as it is now, has the hash that names its content, if the cache can be written to."""
        if hasher(etag, 0) is not None:
            _write(_state(path), self._mark(etag))

    def _mark(self, etag: str) -> Path:
        return self.root / ".anymodal" / "verified" / etag

    def remove(self, path: Path) -> None:
        """Remove a file of a commit and its content."""
        with suppress(OSError):
            self.blob(path.readlink().name).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _file(self, commit: str, name: str) -> Path:
        return self.root / "snapshots" / commit / name


def hasher(etag: str, size: int) -> Callable[[], hashlib._Hash] | None:
    """What computes the hash that an etag is, of content of `size` bytes; None if it is none."""
    if SHA256.fullmatch(etag):
        return hashlib.sha256
    if COMMIT.fullmatch(etag):  # as git names content
        return lambda: hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return None


def has_hash(path: Path, etag: str) -> bool:
    """Whether the content of a file has the hash that the etag is; true where it is none."""
    make = hasher(etag, path.stat().st_size)
    if make is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, make).hexdigest() == etag


def _state(path: Path) -> str:
    """What changes when a file is written to or replaced."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _write(text: str, path: Path) -> None:
    """Write a short text, whole or not at all, if the cache can be written to."""
    with suppress(DataError):
        write_text(text, path)
