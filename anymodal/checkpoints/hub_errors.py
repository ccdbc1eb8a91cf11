"""What huggingface_hub raises as one sentence: what was asked of which repository, what went wrong, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from anymodal.checkpoints.hub_cache import COMMIT
from anymodal.errors import AnymodalError, CheckpointError, one_line

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


@attrs.frozen
class Request:
    """What the Hub is asked for: a file of a repository, or (no `file`) the repository itself.

    `cached` says that the cache has what the revision stood for before, `begun` that content is on its way.
    """

    repository: str
    file: str = ""
    revision: str | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    cached: bool = False
    begun: bool = False

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    @property
    def wanted(self) -> str:
        return self.file or "the repository"


def hub_endpoint() -> str:
    """The address of the Hub, or of what HF_ENDPOINT names."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _gated(request: Request, error: BaseException) -> str:
    place, login = f"{hub_endpoint()}/{request.repository}", "`hf auth login` or set HF_TOKEN"
    return f"{request.repository} is gated: ask for access at {place}, then log in with {login}"


def _unknown(request: Request, error: BaseException) -> str:
    hint = "check the name; a private one needs a token that may read it (`hf auth login` or HF_TOKEN)"
    return f"there is no folder and no repository {request.repository!r} at {hub_endpoint()}; {hint}"


def _no_revision(request: Request, error: BaseException) -> str:
    return f"{request.repository} has no revision {request.revision or 'main'!r}; give a branch, tag or commit"


def offline_switch(request: Request) -> str:
    """What forbids to reach the Hub, or an empty text."""
    from huggingface_hub import constants

    return "local_files_only" if request.local_files_only else "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else ""


def not_cached(request: Request) -> CheckpointError:
    """The error for a file that is not in the cache where the Hub must not be reached."""
    from huggingface_hub import constants

    place = f"{request.wanted} of {request} is not in the cache {request.cache_dir or constants.HF_HUB_CACHE}"
    return CheckpointError(f"{place}, and {offline_switch(request)} forbids to download it")


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
        return f"{hub_endpoint()} refuses access to {request.repository} ({status}); {login}"
    return f"{hub_endpoint()} failed with status {status} for {request.wanted} of {request.repository}; try again later"


def _no_name(request: Request, error: BaseException) -> str:
    return f"{request.repository!r} is not the name of a repository: {one_line(error, 200)}"


def _lost(request: Request, error: BaseException) -> str:
    """Of a connection that could not be made, or that ended too early."""
    if not request.begun:
        what = f"cannot reach {hub_endpoint()} for {request.wanted} of {request}"
        what += "" if request.cached else ", and it is not in the cache; check the connection"
        return f"{what} ({one_line(error, 200) or type(error).__name__})"
    reason = one_line(error, 200) or type(error).__name__
    what = f"the transfer of {request.wanted} of {request.repository} from {hub_endpoint()} broke off ({reason})"
    return f"{what}; try again, finished files are kept"


def _worker_failed(request: Request, error: BaseException) -> str:
    """Of what workers of an upload raise, around the reason."""
    return f"{request.repository}: {one_line(error, 200)} {one_line(error.__cause__ or '', 200)}; try again"


def _not_stored(request: Request, error: BaseException) -> str:
    what = f"{request.wanted} of {request.repository}"
    if "Consistency check failed" in str(error):
        return f"{what} came with another size than {hub_endpoint()} states; try again"
    return f"cannot store {what}: {one_line(error, 200)}"


# The first type that an error is of counts; names are those of huggingface_hub.errors, which takes long to import.
SENTENCES: tuple[tuple[str | type[Exception], Callable[..., str]], ...] = (
    ("GatedRepoError", _gated),
    ("RepositoryNotFoundError", _unknown),
    ("RevisionNotFoundError", _no_revision),
    ("EntryNotFoundError", _no_file),
    ("OfflineModeIsEnabled", _offline),
    ("LocalTokenNotFoundError", _no_token),
    ("HfHubHTTPError", _refused),
    ("HFValidationError", _no_name),
    ("HTTPError", _lost),
    (ConnectionError, _lost),
    (TimeoutError, _lost),
    (RuntimeError, _worker_failed),
    (OSError, _not_stored),
)


@contextmanager
def clear_errors(request: Request) -> Iterator[None]:
    """Turn what huggingface_hub raises in the block into one CheckpointError, with the original as its cause."""
    from huggingface_hub import errors

    try:
        yield
    except AnymodalError:
        raise
    except Exception as error:
        for kind, sentence in SENTENCES:
            if isinstance(error, getattr(errors, kind, ()) if isinstance(kind, str) else kind):
                raise CheckpointError(sentence(request, error)) from error
        what = f"{hub_endpoint()} does not answer as the Hub does for {request.wanted} of {request}"
        raise CheckpointError(f"{what} ({type(error).__name__}: {one_line(error, 200)})") from error


def is_definite(error: CheckpointError) -> bool:
    """Whether the Hub itself answered, or was not asked, so that asking again or the cache would be no remedy."""
    from huggingface_hub import errors

    cause = error.__cause__
    if isinstance(cause, errors.HfHubHTTPError):
        status = getattr(cause.response, "status_code", 500)
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(cause, (errors.HFValidationError, errors.LocalTokenNotFoundError))


def is_missing(error: CheckpointError) -> bool:
    """Whether the Hub answered that there is no such file."""
    from huggingface_hub import errors

    cause = error.__cause__
    return isinstance(cause, errors.EntryNotFoundError) and not isinstance(cause, errors.LocalEntryNotFoundError)


def missing_in(error: CheckpointError) -> str | None:
    """The commit that has no such file, as the Hub said with `is_missing`."""
    response = getattr(error.__cause__, "response", None)
    commit = response.headers.get("X-Repo-Commit") if response is not None else None
    return commit if isinstance(commit, str) and COMMIT.fullmatch(commit) else None
