"""A server of the app in a process of its own: `app_child.py CHECKPOINT LIMITS [INDEX]`, until its input ends.

Requests whose seed is at least a million have slow steps, and one of them (`BROKEN`) fails as only faults of ours do.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from anymodal_app.runs import Studio
from anymodal_app.server import serving
from anymodal_app.settings import Limits, Settings
from anymodal_app.store import Store

import anymodal as am
from anymodal.outputs.finish import Generation

SLOW, BROKEN, SECONDS = 1_000_000, 1_000_666, 0.2
LOCAL = ("127.0.0.1", "localhost", "::1", None)


class Slow(Generation):
    """Takes some time for each step, and says how many were taken when it is closed."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.taken, self.seeds = 0, self._batch.seeds
        if self.seeds[0] == BROKEN:
            raise RuntimeError("/home/somebody/secret")

    def __next__(self):
        if self.seeds[0] >= SLOW:
            time.sleep(SECONDS)
            self.taken += 1
        return super().__next__()

    def close(self) -> None:
        super().close()
        if self.seeds[0] >= SLOW:
            sys.stderr.write(f"closed {self.seeds[0]} after {self.taken}\n")
            sys.stderr.flush()


def note_connections() -> None:
    """Write down every connection to another machine, and every name that is looked up."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def noted(self, address, *more):
        if self.family != socket.AF_UNIX and address[0] not in LOCAL:
            sys.stderr.write(f"network {address}\n")
        return connect(self, address, *more)

    def looked_up(host, *more, **named):
        if host not in LOCAL:
            sys.stderr.write(f"network {host}\n")
        return look_up(host, *more, **named)

    socket.socket.connect, socket.getaddrinfo = noted, looked_up


def main(checkpoint: str, limits: str, index: str = "") -> None:
    note_connections()
    am.anymodel.Generation = Slow
    settings = Settings(port=0, limits=Limits(**json.loads(limits)), index=Path(index) if index else None)
    store = Store()
    studio = Studio(model=am.load(checkpoint), name=checkpoint, store=store, limits=settings.limits)
    try:
        with serving(studio, settings, am.Index(index) if index else None) as address:
            sys.stdout.write(json.dumps({"address": address, "folder": str(store.folder)}) + "\n")
            sys.stdout.flush()
            sys.stdin.read()
    finally:
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
