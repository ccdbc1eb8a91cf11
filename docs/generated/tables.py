"""Tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

CODE = re.compile(r"(`[^`]*`)")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *(list(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def flat(text: str | None) -> str:
    """Text on one line."""
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    """A cell on one line; bars in code are no borders of cells, and a backslash there would be seen."""
    parts = CODE.split(flat(text))
    return "".join(part if CODE.fullmatch(part) else part.replace("|", "\\|") for part in parts)
