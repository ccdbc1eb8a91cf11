"""What was made in this run, for downloads and as inputs of what comes next: by ids that nobody can guess."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from anymodal.errors import GenerationError
from anymodal_app.settings import KEPT_BYTES, KEPT_SECONDS

TRIES, PAUSE = 40, 0.05  # seconds


@attrs.frozen
class Kept:
    """A file that can be downloaded.

    path: where it lies.
    name: under which it is saved.
    size: bytes.
    until: when it is forgotten, by `time.monotonic`.
    modality: of the value it holds, "" of other files.
    value: the value itself.
    """

    path: Path
    name: str
    size: int
    until: float
    modality: str = ""
    value: Any = None


class Store:
    """Files in a folder of their own, which goes with the store; the oldest go first when there are too many."""

    def __init__(self, seconds: float = KEPT_SECONDS, most: int = KEPT_BYTES) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="anymodal-app-"))
        self.seconds, self.most = seconds, most
        self._kept: dict[str, Kept] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self.closed = False

    def new_folder(self) -> Path:
        """An empty folder for the files of one run."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """In its body files are written into this store, which is not closed meanwhile. Raises GenerationError."""
        with self._writing:
            if self.closed:
                raise GenerationError("the server is ending")
            yield

    def keep(self, path: Path, name: str, modality: str = "", value: Any = None) -> str:
        """Offer a file of this store's folder for a while; the id under which it is found."""
        made = secrets.token_urlsafe(24)
        kept = Kept(path, name, path.stat().st_size, time.monotonic() + self.seconds, modality, value)
        with self._lock:
            self._kept[made] = kept
            self._forget()
        return made

    def find(self, key: object) -> Kept | None:
        """What was kept under an id, as long as it is."""
        with self._lock:
            self._forget()
            return self._kept.get(key) if isinstance(key, str) else None

    def _forget(self) -> None:
        """Remove what is old or too much; files that were made first are first in the table."""
        size, now = sum(each.size for each in self._kept.values()), time.monotonic()
        for key, kept in list(self._kept.items()):
            if kept.until > now and size <= self.most:
                return
            size -= kept.size
            del self._kept[key]
            kept.path.unlink(missing_ok=True)
            if kept.path.parent != self.folder and not any(kept.path.parent.iterdir()):
                kept.path.parent.rmdir()

    def close(self) -> None:
        """Remove everything, also of a generation that is at work, which ends at its next step."""
        with self._writing:
            self.closed = True
        for _ in range(TRIES):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(PAUSE)
