"""What is done at a moment of a run: at one of its changes of files, or when it opens one of its inputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

CHANGES = (
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod"),
    *("tempfile.mkstemp", "tempfile.mkdtemp"),
)


class Moments:
    """Counts, in the process of a run, the changes of files and the openings of inputs, and acts at one of them."""

    def __init__(self, out: Path, inputs: Iterable[Path] = ()) -> None:
        self.out, self.inputs = f"{out}{os.sep}", {str(path) for path in inputs}
        self.changes = self.reads = 0
        self.at: tuple[str, int] | None = None
        self.act: Callable[[], Any] = lambda: None
        self._busy = False

    def watch(self) -> None:
        """Begin; a process cannot stop it."""
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._busy or (event != "open" and event not in CHANGES):
            return
        if event == "open":
            path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes, os.PathLike)) else ""
            if path in self.inputs:
                self.reads += 1
                self._reached("reads", self.reads)
                return
            if not path.startswith(self.out):
                return
        self.changes += 1
        self._reached("changes", self.changes)

    def _reached(self, kind: str, number: int) -> None:
        if self.at == (kind, number):
            self._busy = True
            try:
                self.act()
            finally:
                self._busy = False
