"""Where the files of a checkpoint come from: a folder, a single file, or a repository on the Hugging Face Hub.

Only files that are needed are downloaded, into the Hub's own cache, and nothing is asked for that the cache knows.
All files of a repository come from one commit: that of the first. Every failure is one sentence.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs

from anymodal.checkpoints.atomic import whole_folder
from anymodal.checkpoints.download import Answer, ask, damaged, download
from anymodal.checkpoints.hub_cache import RepositoryCache, check_name
from anymodal.checkpoints.hub_errors import (
    Request,
    hub_endpoint,
    is_definite,
    is_missing,
    missing_in,
    not_cached,
    offline_switch,
)
from anymodal.errors import CheckpointError, one_line, system_errors
from anymodal.files import replacing

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
PATIENCE = 5.0  # seconds that a branch is asked for, where the cache has what it stood for before


class Files(Protocol):
    """The files of one checkpoint, by their name with slashes."""

    def path(self, name: str) -> Path:
        """The local path of a file. Raises CheckpointError if there is none."""

    def find(self, name: str) -> Path | None:
        """The local path of a file, or None if the checkpoint has none of that name."""


@attrs.frozen
class Folder:
    """A checkpoint in a folder; while its files are being replaced, those of the new one count (`replacing_folder`).

    `modalities` are those that are loaded of it, None for all.
    """

    root: Path
    modalities: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return str(self.root)

    def path(self, name: str) -> Path:
        """As `Files.path`."""
        found = self.find(name)
        if found is None:
            raise CheckpointError(f"no such file: {self.root / name}")
        return found

    def find(self, name: str) -> Path | None:
        """As `Files.find`."""
        *folders, file = check_name(name).split("/")
        with system_errors(CheckpointError, f"{self.root / name} cannot be read"):
            root = whole_folder(self.root)
            for folder in folders:
                root = whole_folder(root / folder)
            return root / file if (root / file).is_file() else None


@attrs.frozen
class SingleFile:
    """A checkpoint in one file of weights, with its config in the header."""

    file: Path

    def __str__(self) -> str:
        return str(self.file)

    def path(self, name: str) -> Path:
        """As `Files.path`."""
        if name != WEIGHTS:
            raise CheckpointError(f"{self.file} is a single file and has no {name}")
        return self.file

    def find(self, name: str) -> Path | None:
        """As `Files.find`."""
        return self.file if name == WEIGHTS else None


def local_files(path: Path) -> Folder | SingleFile:
    """The checkpoint in a folder, or in the file at a path."""
    return Folder(path) if path.is_dir() else SingleFile(path)


@attrs.frozen(kw_only=True)
class Access:
    """How to reach the Hub: `token` is a token, True for the stored one, False for none, None for whatever is there."""

    cache_dir: str | Path | None = None
    local_files_only: bool = False
    token: str | bool | None = attrs.field(default=None, repr=False)


@attrs.define
class Repository:
    """A checkpoint in a repository on the Hub, such as ``EPFL-VILAB/4M-21_B``."""

    name: str
    revision: str | None = None
    access: Access = attrs.field(factory=Access)
    commit: str | None = attrs.field(default=None, init=False)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def path(self, name: str) -> Path:
        """The path in the cache of a file, downloaded if need be. Raises CheckpointError."""
        found = self.find(name)
        if found is None:
            raise CheckpointError(f"{self} has no file {name!r}")
        return found

    def find(self, name: str) -> Path | None:
        """As `path`, or None if the repository has no such file; what the cache knows of a commit is not asked for."""
        check_name(name)
        answer: Answer | None = None
        if self.commit is None:
            self.commit, answer = self._current(name)
        cache, commit = self._cache, self.commit
        if (path := cache.find(commit, name)) is not None:
            if answer is not None:
                cache.note_commit(self._revision, commit)
            return self._whole(path, name)
        if cache.lacks(commit, name):
            return None
        request = self._request(name)
        if offline_switch(request):
            raise not_cached(request)
        if answer is None:
            try:
                answer = ask(request, commit, self.access.token)
            except CheckpointError as error:
                if not is_missing(error):
                    raise
                cache.note_missing(commit, name)
                return None
            if answer.commit != commit:
                raise CheckpointError(f"{hub_endpoint()} gives {name} of another commit than {commit}, of {self}")
        path = download(answer, cache, self.access.token)
        cache.note_commit(self._revision, commit)
        return path

    @property
    def _revision(self) -> str:
        return self.revision or "main"

    @property
    def _cache(self) -> RepositoryCache:
        from huggingface_hub import constants

        folder = Path(self.access.cache_dir or constants.HF_HUB_CACHE).expanduser()
        return RepositoryCache(folder / f"models--{self.name.replace('/', '--')}")

    def _current(self, name: str) -> tuple[str, Answer | None]:
        """The commit that the revision stands for, and what the Hub said of the file if it was asked for that."""
        request, cached = self._request(name), self._cache.commit_of(check_revision(self._revision))
        if cached == self._revision:
            return cached, None
        if offline_switch(request):
            if cached is None:
                raise not_cached(request)
            return cached, None
        known = cached is not None and self._cache.find(cached, name) is not None
        try:
            request = attrs.evolve(request, cached=known)
            answer = ask(request, self._revision, self.access.token, PATIENCE if known else None)
        except CheckpointError as error:
            if is_missing(error) and (commit := missing_in(error)):
                self._cache.note_missing(commit, name)
                return commit, None
            if not known or cached is None or is_definite(error):
                raise
            warnings.warn(f"{error}; what the cache has of {self}, commit {cached[:12]}, is loaded", stacklevel=2)
            return cached, None
        return answer.commit, answer

    def _whole(self, path: Path, name: str) -> Path:
        """The path of a file in the cache, whose content was compared with its hash. Raises CheckpointError."""
        with system_errors(CheckpointError, f"{path} cannot be read"):
            if not self._cache.is_whole(path):
                self._cache.remove(path)
                raise damaged(self._request(name))
        return path

    def _request(self, name: str) -> Request:
        access = self.access
        return Request(self.name, name, self.revision, access.cache_dir, access.local_files_only)


def check_revision(revision: str) -> str:
    """A branch, tag or commit. Raises CheckpointError for what cannot be the name of one."""
    try:
        return check_name(revision)
    except CheckpointError:
        raise CheckpointError(f"{revision!r:.80} is no revision; give a branch, tag or commit") from None


def fetch(url: str, sha256: str, path: Path, limit: int, offline: bool = False) -> Path:
    """A file at a fixed address, downloaded to `path` once.

    Args:
        url: the address.
        sha256: the hash of the file in hexadecimal digits; any other content is refused.
        path: where it is kept; a file there with that hash is taken as it is.
        limit: most bytes that are read.
        offline: whether the address must not be reached; HF_HUB_OFFLINE says so too.

    Returns:
        `path`.

    Raises:
        CheckpointError: the file cannot be reached or is not the expected one.
    """
    if _holds(path, sha256, limit):
        return path
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise CheckpointError(f"{path} is missing, and {url} must not be reached offline")
    with _one_at_a_time(path):
        if _holds(path, sha256, limit):  # another process was first
            return path
        data = _content(url, limit)
        if len(data) > limit or hashlib.sha256(data).hexdigest() != sha256:
            raise CheckpointError(f"{url} does not hold the expected file (its sha256 is not {sha256})")
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path


def _holds(path: Path, sha256: str, limit: int) -> bool:
    """Whether a file is there and has that hash."""
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(limit + 1)).hexdigest() == sha256
    except OSError:
        return False


def _content(url: str, limit: int) -> bytes:
    """What is at an address, no more than `limit` bytes and one. Raises CheckpointError."""
    import urllib.request
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return bytes(response.read(limit + 1))
    except (OSError, ValueError, HTTPException) as error:
        raise CheckpointError(f"cannot download {url}: {one_line(error, 200) or type(error).__name__}") from None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process or thread write a file at a time, where the file system knows locks."""
    from filelock import FileLock

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with system_errors(CheckpointError, f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(NotImplementedError):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
