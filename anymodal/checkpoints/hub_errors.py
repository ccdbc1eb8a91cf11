"""What huggingface_hub raises as one sentence: what was asked of which repository, what went wrong, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from anymodal.errors import CheckpointError, one_line

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


@attrs.frozen
class Request:
    """What the Hub is asked for: a file of a repository, or (no `file`) the repository itself."""

    repository: str
    file: str = ""
    revision: str | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    @property
    def wanted(self) -> str:
        return self.file or "the repository"


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _gated(request: Request, error: BaseException) -> str:
    place, login = f"{_endpoint()}/{request.repository}", "`hf auth login` or set HF_TOKEN"
    return f"{request.repository} is gated: ask for access at {place}, then log in with {login}"


def _unknown(request: Request, error: BaseException) -> str:
    hint = "check the name; a private one needs a token that may read it (`hf auth login` or HF_TOKEN)"
    return f"there is no folder and no repository {request.repository!r} at {_endpoint()}; {hint}"


def _no_revision(request: Request, error: BaseException) -> str:
    return f"{request.repository} has no revision {request.revision or 'main'!r}; give a branch, tag or commit"


def _not_cached(request: Request, error: BaseException) -> str:
    """Why a file that is not in the cache could not be had."""
    from huggingface_hub import constants, errors

    switch = "local_files_only" if request.local_files_only else "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else ""
    if switch:
        cache = request.cache_dir or constants.HF_HUB_CACHE
        return f"{request.wanted} of {request} is not in the cache {cache}, and {switch} forbids to download it"
    if isinstance(error.__cause__, errors.HfHubHTTPError):
        return _refused(request, error.__cause__)
    what = f"{request.wanted} of {request}"
    if isinstance(error.__cause__, errors.FileMetadataError):
        return f"{_endpoint()} does not answer as the Hub does for {what}; check HF_ENDPOINT and proxies"
    return f"cannot reach {_endpoint()} for {what}, and it is not in the cache; check the connection"


def _no_file(request: Request, error: BaseException) -> str:
    return f"{request} has no file {request.file!r}"


def _offline(request: Request, error: BaseException) -> str:
    return f"{request.repository} cannot be reached: HF_HUB_OFFLINE is set"


def _no_token(request: Request, error: BaseException) -> str:
    return "no token for the Hub is stored; log in with `hf auth login` or set HF_TOKEN"


def _refused(request: Request, error: HfHubHTTPError) -> str:
    status = getattr(error.response, "status_code", None)
    if status in (401, 403):
        login = "log in with a token that has the right to it"
        return f"{_endpoint()} refuses access to {request.repository} ({status}); {login}"
    return f"{_endpoint()} failed with status {status} for {request.wanted} of {request.repository}; try again later"


def _no_name(request: Request, error: BaseException) -> str:
    return f"{request.repository!r} is not the name of a repository: {one_line(error, 200)}"


def _broken_off(request: Request, error: BaseException) -> str:
    reason = one_line(error, 200) or type(error).__name__
    what = f"the download of {request.wanted} of {request.repository} from {_endpoint()} broke off ({reason})"
    return f"{what}; try again, finished files are kept"


def _worker_failed(request: Request, error: BaseException) -> str:
    """Of what workers of an upload raise, around the reason."""
    return f"{request.repository}: {one_line(error, 200)} {one_line(error.__cause__ or '', 200)}; try again"


def _not_stored(request: Request, error: BaseException) -> str:
    what = f"{request.wanted} of {request.repository}"
    if "Consistency check failed" in str(error):
        return f"{what} came with another size than {_endpoint()} states; try again"
    return f"cannot store {what}: {one_line(error, 200)}"


# The first type that an error is of counts; names are those of huggingface_hub.errors, which takes long to import.
SENTENCES: tuple[tuple[str | type[Exception], Callable[..., str]], ...] = (
    ("GatedRepoError", _gated),
    ("RepositoryNotFoundError", _unknown),
    ("RevisionNotFoundError", _no_revision),
    ("LocalEntryNotFoundError", _not_cached),
    ("EntryNotFoundError", _no_file),
    ("OfflineModeIsEnabled", _offline),
    ("LocalTokenNotFoundError", _no_token),
    ("HfHubHTTPError", _refused),
    ("HFValidationError", _no_name),
    ("HTTPError", _broken_off),
    (ConnectionError, _broken_off),
    (TimeoutError, _broken_off),
    (RuntimeError, _worker_failed),
    (OSError, _not_stored),
)


@contextmanager
def clear_errors(request: Request) -> Iterator[None]:
    """Turn what huggingface_hub raises in the block into one CheckpointError, with the original as its cause."""
    from huggingface_hub import errors

    try:
        yield
    except Exception as error:
        for kind, sentence in SENTENCES:
            if isinstance(error, getattr(errors, kind, ()) if isinstance(kind, str) else kind):
                raise CheckpointError(sentence(request, error)) from error
        raise
