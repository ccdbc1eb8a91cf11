"""Where the files of a checkpoint come from: a folder, a single file, or a repository on the Hugging Face Hub.

Only files that are asked for are downloaded, into the Hub's own cache. All files of a repository come from one commit:
that of the first. What was downloaded is compared with its hash once. Every failure is one sentence.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, Protocol

import attrs

from anymodal.checkpoints.atomic import whole_folder
from anymodal.checkpoints.hub_errors import Request, clear_errors
from anymodal.errors import CheckpointError, one_line
from anymodal.files import replacing

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
SHA256, SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
CHUNK = 8 * 1024**2


class Files(Protocol):
    """The files of one checkpoint, by their name with slashes."""

    def path(self, name: str) -> Path:
        """The local path of a file. Raises CheckpointError if there is none."""

    def find(self, name: str) -> Path | None:
        """The local path of a file, or None if the checkpoint has none of that name."""


@attrs.frozen
class Folder:
    """A checkpoint in a folder; while its files are being replaced, those of the new one count (`replacing_folder`)."""

    root: Path

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
        *folders, file = name.split("/")
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
        return self._download(name)

    def find(self, name: str) -> Path | None:
        """As `path`, or None if the repository has no such file."""
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return self._download(name)
        except CheckpointError as error:
            cause = error.__cause__
            missing = isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError)
            if missing or self._known_missing(name):
                return None
            raise

    def _download(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        fresh = not isinstance(self._cached(name), str)
        with clear_errors(self._request(name)):
            path = Path(
                hf_hub_download(
                    self.name,
                    name,
                    revision=self.commit or self.revision,
                    cache_dir=self.access.cache_dir,
                    local_files_only=self.access.local_files_only,
                    token=self.access.token,
                )
            )
        if self.commit is None:
            self.commit = _commit(path, name)
        if fresh:
            _verify(path, f"{name} of {self}")
        return path

    def _request(self, name: str) -> Request:
        access = self.access
        return Request(self.name, name, self.revision, access.cache_dir, access.local_files_only)

    def _cached(self, name: str) -> Any:
        """The cached path as text, a mark for a file that is known not to exist, or None."""
        from huggingface_hub import try_to_load_from_cache

        try:
            return try_to_load_from_cache(
                self.name, name, cache_dir=self.access.cache_dir, revision=self.commit or self.revision
            )
        except ValueError:
            return None

    def _known_missing(self, name: str) -> bool:
        cached = self._cached(name)
        return cached is not None and not isinstance(cached, str)


def _commit(path: Path, name: str) -> str | None:
    """The commit in a path of the cache, .../snapshots/COMMIT/NAME."""
    commit = path.parents[name.count("/")].name
    return commit if SHA1.fullmatch(commit) else None


def _verify(path: Path, what: str) -> None:
    """Compare a downloaded file with the hash that names it in the cache; remove it and raise if they differ."""
    blob = path.resolve()
    if SHA256.fullmatch(blob.name):
        digest = hashlib.sha256()
    elif SHA1.fullmatch(blob.name):
        digest = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)  # as git does
    else:
        return
    with blob.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != blob.name:
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise CheckpointError(f"{what} was damaged on its way: its hash differs from the one the Hub states; try again")


def fetch(url: str, sha256: str, path: Path, limit: int, offline: bool = False) -> Path:
    """A file at a fixed address, downloaded to `path` once.

    Args:
        url: The address.
        sha256: The hash of the file in hexadecimal digits; any other content is refused.
        path: Where it is kept; a file there with that hash is taken as it is.
        limit: Most bytes that are read.
        offline: Whether the address must not be reached; HF_HUB_OFFLINE says so too.

    Returns:
        `path`.

    Raises:
        CheckpointError: When the file cannot be reached or is not the expected one.
    """
    import urllib.request

    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
        return path
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise CheckpointError(f"{path} is missing, and {url} must not be reached offline")
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            data = response.read(limit + 1)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot download {url}: {one_line(error, 200)}") from None
    if len(data) > limit or hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(f"{url} does not hold the expected file (its sha256 is not {sha256})")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path
