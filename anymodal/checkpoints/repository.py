"""Where the files of a checkpoint come from: a folder, or a repository on the Hugging Face Hub.

Only files that are asked for are downloaded, into the Hub's own cache. All files of a repository come from one commit:
that of the first. What was downloaded is compared with its hash once. Every failure is one sentence.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs

from anymodal.errors import CheckpointError, one_line

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
    """A checkpoint in a folder."""

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
        path = self.root / name
        return path if path.is_file() else None


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
        with clear_errors(self, name):
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


@contextmanager
def clear_errors(repository: Repository | str, name: str = "") -> Iterator[None]:
    """Turn what huggingface_hub raises into one CheckpointError; `name` is the file that is asked for."""
    from huggingface_hub import constants, errors

    access = repository.access if isinstance(repository, Repository) else Access()
    plain = repository.name if isinstance(repository, Repository) else repository
    place, file = constants.ENDPOINT, name or "the repository"

    def absent(error: BaseException) -> str:
        """Why a file that is not in the cache could not be had."""
        switch = "local_files_only" if access.local_files_only else "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else ""
        if switch:
            cache = access.cache_dir or constants.HF_HUB_CACHE
            return f"{file} of {repository} is not in the cache {cache}, and {switch} forbids to download it"
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            return refused(error.__cause__)
        if isinstance(error.__cause__, errors.FileMetadataError):
            return f"{place} does not answer as the Hub does for {file} of {repository}; check HF_ENDPOINT and proxies"
        return f"cannot reach {place} for {file} of {repository}, and it is not in the cache; check the connection"

    def refused(error: errors.HfHubHTTPError) -> str:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            return f"{place} refuses access to {plain} ({status}); log in with a token that has the right to it"
        return f"{place} failed with status {status} for {file} of {plain}; try again later"

    try:
        yield
    except errors.GatedRepoError as error:
        message = (
            f"{plain} is gated: ask for access at {place}/{plain}, then log in with `hf auth login` or set HF_TOKEN"
        )
        raise CheckpointError(message) from error
    except errors.RepositoryNotFoundError as error:
        hint = "check the name; a private one needs a token that may read it (`hf auth login` or HF_TOKEN)"
        raise CheckpointError(f"there is no folder and no repository {plain!r} at {place}; {hint}") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{plain} has no revision {_revision(repository)!r}; give a branch, tag or commit"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(absent(error)) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"{repository} has no file {name!r}") from error
    except errors.OfflineModeIsEnabled as error:
        raise CheckpointError(f"{plain} cannot be reached: HF_HUB_OFFLINE is set") from error
    except errors.LocalTokenNotFoundError as error:
        raise CheckpointError("no token for the Hub is stored; log in with `hf auth login` or set HF_TOKEN") from error
    except errors.HfHubHTTPError as error:
        raise CheckpointError(refused(error)) from error
    except errors.HFValidationError as error:
        raise CheckpointError(f"{plain!r} is not the name of a repository: {one_line(error, 200)}") from error
    except (errors.HTTPError, ConnectionError, TimeoutError) as error:  # type: ignore[attr-defined]
        reason = one_line(error, 200) or type(error).__name__
        message = f"the download of {file} of {plain} from {place} broke off ({reason})"
        raise CheckpointError(f"{message}; try again, finished files are kept") from error
    except RuntimeError as error:  # what workers of an upload raise, around the reason
        reason = f"{one_line(error, 200)} {one_line(error.__cause__ or '', 200)}"
        raise CheckpointError(f"{plain}: {reason}; try again") from error
    except OSError as error:
        if "Consistency check failed" in str(error):
            message = f"{file} of {plain} came with another size than {place} states; try again"
        else:
            message = f"cannot store {file} of {plain}: {one_line(error, 200)}"
        raise CheckpointError(message) from error


def _revision(repository: Repository | str) -> str:
    return (repository.revision or "main") if isinstance(repository, Repository) else "main"


def fetch(url: str, sha256: str, path: Path, limit: int, offline: bool = False) -> Path:
    """A file at a fixed address, downloaded to `path` once; its size is bounded and its hash known.

    Raises CheckpointError when it cannot be reached or is not the expected one.
    """
    import urllib.request

    from anymodal.files import replacing

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
