"""How a check says that its rule is broken."""

from __future__ import annotations


class Broken(Exception):
    """A rule is broken; the message says by what, and on which example."""


def expect(holds: object, message: str) -> None:
    """Raise Broken with the message unless it holds."""
    if not holds:
        raise Broken(message)
