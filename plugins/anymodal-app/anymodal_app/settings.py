"""What the server is asked to be, and what it allows."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import attrs

MEGABYTE = 1024**2
BASE64 = 4 / 3  # how much longer a file is in a request
FIRST_PORT, PORTS = 7860, 100
KEPT_SECONDS, KEPT_BYTES = 30 * 60, 256 * MEGABYTE
DRAWS = 4  # from which the uncertainty of a value is told


@attrs.frozen(kw_only=True)
class Limits:
    """What one request may ask for.

    upload_mb: megabytes of all files of a request together.
    side: pixels of the longer side of a picture.
    text: characters of a text.
    variants: seeds side by side.
    steps: of a target.
    seconds: of a generation.
    queue: requests that wait.
    """

    upload_mb: int = 20
    side: int = 8192
    text: int = 2000
    variants: int = 4
    steps: int = 256
    seconds: int = 120
    queue: int = 64

    @property
    def body(self) -> int:
        """Bytes of a whole request."""
        return int(self.upload_mb * MEGABYTE * BASE64) + MEGABYTE


def _without_brackets(host: str) -> str:
    return host.strip("[]")


@attrs.frozen(kw_only=True)
class Settings:
    """What is served, where, and to whom.

    model: its name, as `anymodal.load` takes it.
    host: the address that is bound.
    port: None for a free one.
    index: the folder of an index to search, or None.
    names: further names of this machine that browsers may use.
    limits: of a request.
    """

    model: str = "tiny"
    host: str = attrs.field(default="127.0.0.1", converter=_without_brackets)
    port: int | None = None
    index: Path | None = None
    names: tuple[str, ...] = ()
    limits: Limits = attrs.field(factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can connect."""
        return self.host == "localhost" or _is_loopback(self.host)

    def answers_to(self, host: str) -> bool:
        """Whether a browser may call this server by a name, which keeps other names from being pointed at it.

        Numbers are never such names: whoever knows the address has no need of them.
        """
        name = host.strip("[]").lower()
        if name in ("localhost", self.host.lower(), *(each.lower() for each in self.names)):
            return True
        if self.is_local:
            return _is_loopback(name)
        own = socket.gethostname().lower()
        return _is_address(name) or name in (own, f"{own}.local", own.partition(".")[0])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return _is_address(text) and ipaddress.ip_address(text).is_loopback
