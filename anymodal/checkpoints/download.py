"""One file from the Hub into its cache: what the server says is checked, and so is the content before it gets its name.

A server may be a mirror, a proxy or a page that asks to log in, so nothing it says becomes a name, a place or a size
before it was looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import attrs

from anymodal.checkpoints.hub_cache import COMMIT, RepositoryCache, has_hash
from anymodal.checkpoints.hub_errors import Request, clear_errors, hub_endpoint, is_definite
from anymodal.errors import CheckpointError
from anymodal.files import MAX_TEXT_BYTES
from anymodal.progress import Task, task

ETAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,127}")
LONGEST_ADDRESS = 8192
PAUSE = 1.0  # seconds before a server that did not answer is asked once more
T = TypeVar("T")


@attrs.frozen
class Answer:
    """What a server says of a file: the commit it is of, the name and the size of its content, and where that lies.

    Raises CheckpointError for what cannot be such a thing.
    """

    request: Request
    commit: str
    etag: str
    size: int
    address: str

    def __attrs_post_init__(self) -> None:
        what = f"{hub_endpoint()} does not answer as the Hub does for {self.request.wanted} of {self.request}"
        name = self.request.file
        if not isinstance(self.commit, str) or not COMMIT.fullmatch(self.commit):
            raise CheckpointError(f"{what}: {self.commit!r:.80} is no commit; check HF_ENDPOINT and proxies")
        if not isinstance(self.etag, str) or not ETAG.fullmatch(self.etag):
            raise CheckpointError(f"{what}: {self.etag!r:.80} names no content; check HF_ENDPOINT and proxies")
        if not isinstance(self.size, int) or self.size < 0:
            raise CheckpointError(f"{what}: it states no size ({self.size!r:.80})")
        if not name.endswith(".safetensors") and self.size > MAX_TEXT_BYTES:
            raise CheckpointError(f"{name} of {self.request} has {self.size} bytes, more than {MAX_TEXT_BYTES}")
        kinds = ("https",) if hub_endpoint().startswith("https:") else ("https", "http")
        if len(self.address) > LONGEST_ADDRESS or urlsplit(self.address).scheme not in kinds:
            raise CheckpointError(f"{what}: it sends on to {self.address!r:.80}")


def ask(request: Request, revision: str, token: str | bool | None, patience: float | None = None) -> Answer:
    """Ask the Hub for a file of a revision, without its content.

    Args:
        request: what is asked for.
        revision: a branch, tag or commit.
        token: as `Access.token`.
        patience: most seconds until the answer is there, whatever the network does meanwhile; None to ask once more
            after a failure, each time as long as huggingface_hub waits.

    Raises:
        CheckpointError: for whatever is wrong; its cause is the error of huggingface_hub, if there is one.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    def once(**options: Any) -> Answer:
        with clear_errors(request):
            address = hf_hub_url(request.repository, request.file, revision=revision)
            said = get_hf_file_metadata(address, token=token, **options)
            return Answer(request, said.commit_hash, said.etag, said.size, said.location)  # type: ignore[arg-type]

    if patience is not None:
        return _within(patience, lambda: once(timeout=patience), request)
    try:
        return once()
    except CheckpointError as error:
        if is_definite(error) or error.__cause__ is None:
            raise
        time.sleep(PAUSE)
        return once()


def _within(seconds: float, call: Callable[[], T], request: Request) -> T:
    """The result of a call that may hang in ways that no timeout of a client covers, such as looking up a name."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True, name="anymodal-ask-hub")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise CheckpointError(f"{hub_endpoint()} did not answer in {seconds:g} s for {request.wanted} of {request}")
    return results[0]


def download(answer: Answer, cache: RepositoryCache, token: str | bool | None) -> Path:
    """Bring a file into the cache, or take the content that is there; other processes and threads wait meanwhile.

    Raises CheckpointError if it cannot be had, or if it is not what the server said it is; nothing is left then.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    request, blob = attrs.evolve(answer.request, begun=True), cache.blob(answer.etag)
    lock = cache.root.parent / ".locks" / cache.root.name / f"{answer.etag}.lock"  # as huggingface_hub
    with clear_errors(request):
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            fresh = not blob.is_file() or blob.stat().st_size != answer.size
            if fresh:
                incomplete = blob.with_name(f"{answer.etag}.incomplete")
                _fetch(answer, incomplete, token)
                incomplete.replace(blob)
            path = cache.link(answer.commit, request.file, answer.etag)
            if fresh:
                cache.note_whole(path, answer.etag)
            elif not cache.is_whole(path):
                cache.remove(path)
                raise damaged(request)
    return path


def damaged(request: Request) -> CheckpointError:
    """The error for a file that has not the hash that the Hub states."""
    what = f"{request.wanted} of {request} was damaged on its way or on the disk"
    return CheckpointError(f"{what}: its hash differs from the one the Hub states; it was removed, try again")


def _fetch(answer: Answer, path: Path, token: str | bool | None) -> None:
    """The whole content at `path`, on from what is there; nothing is left of one that is not what was stated."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    start = path.stat().st_size if path.is_file() else 0
    if start > answer.size:
        path.unlink()
        start = 0
    free = shutil.disk_usage(path.parent).free
    if answer.size - start > free:
        raise CheckpointError(
            f"{answer.request.wanted} of {answer.request} has {answer.size} bytes, and {free} are free in"
            f" {path.parent}; make room, or choose another cache by HF_HOME"
        )
    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    if urlsplit(answer.address).netloc != urlsplit(hub_endpoint()).netloc:
        headers.pop("authorization", None)  # a token is for the Hub alone
    what = f"downloading {answer.request.file}"
    with path.open("ab") as file, task(what, answer.size, start) as now, _without_bars():
        bounded = _Bounded(file, answer.size, answer.request, now)
        http_get(
            answer.address,
            bounded,  # type: ignore[arg-type]
            resume_size=start,
            headers=headers,
            expected_size=answer.size,
            displayed_filename=answer.request.file,
        )
        os.fsync(file)
    if path.stat().st_size != answer.size or not has_hash(path, answer.etag):
        path.unlink()
        raise damaged(answer.request)


@contextmanager
def _without_bars() -> Iterator[None]:
    """No bars of huggingface_hub, for downloads are shown as all other work is."""
    from huggingface_hub import utils

    off = utils.are_progress_bars_disabled()  # type: ignore[attr-defined]
    utils.disable_progress_bars()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if not off:
            utils.enable_progress_bars()  # type: ignore[attr-defined]


class _Bounded:
    """A file that takes no more than `size` bytes, however many a server sends, and tells a task how many it has."""

    def __init__(self, file: IO[bytes], size: int, request: Request, task: Task) -> None:
        self._file, self._size, self._request, self._task = file, size, request, task

    def write(self, data: bytes) -> int:
        if self._file.tell() + len(data) > self._size:
            self._file.truncate(0)
            request = self._request
            raise CheckpointError(f"{request.wanted} of {request} is longer than {hub_endpoint()} states; try again")
        written = self._file.write(data)
        done = self._file.tell()
        self._task.update(done, f"{done / 1e6:.1f} of {self._size / 1e6:.1f} MB")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
