"""A set of modalities as a table for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from anymodal.plugins.registry import summary
from anymodal.spaces import DenseSpace, Stream

if TYPE_CHECKING:
    from anymodal.tokens.modality_set import ModalitySet

ROWS, LONGEST = 64, 100  # modalities, and characters of a cell, that are shown
COLUMNS = ("modality", "what it is", "", "tokens")


def html_table(modalities: ModalitySet) -> str:
    """Name, summary, direction and tokens of each modality, as HTML; whatever plugins say is escaped and cut."""
    members = list(modalities)
    rows = [
        (modality.name, summary(type(modality)), _direction(streams), _tokens(streams))
        for modality in members[:ROWS]
        for streams in (modalities.streams(modality.name),)
    ]
    if len(members) > ROWS:
        rows.append((f"and {len(members) - ROWS} more", "", "", ""))
    lines = [_line("th", COLUMNS), *(_line("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _line(tag: str, cells: Iterable[str]) -> str:
    drawn = (f"<{tag} align='left'>{escape(cell[:LONGEST])}</{tag}>" for cell in cells)
    return f"<tr>{''.join(drawn)}</tr>"


def _direction(streams: Iterable[Stream]) -> str:
    reads, makes = (any(getattr(each, way) for each in streams) for way in ("input", "target"))
    return "in and out" if reads and makes else "in" if reads else "out"


def _tokens(streams: Iterable[Stream]) -> str:
    """Such as "8 x 8 of 1024 ids", of what the model generates, or else of what it reads."""
    streams = list(streams)
    space = next((each.space for each in streams if each.target), streams[0].space)
    places = f"{space.shape[0]} x {space.shape[1]}" if space.shape else f"{space.length}"
    return f"{places} of {f'{space.width} numbers' if isinstance(space, DenseSpace) else f'{space.size} ids'}"
