"""What notebooks show of results: tables of HTML, in which whatever others say is escaped and cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

ROWS, LONGEST = 64, 100  # rows of a table, and characters of a cell, that are shown


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table under a title; of many rows the first ones, and how many more there are."""
    cells = [[_text(each) for each in row] for row in rows]
    shown = cells[:ROWS]
    if len(cells) > ROWS:
        shown.append([f"and {len(cells) - ROWS} more", *[""] * (len(columns) - 1)])
    lines = [_line("th", columns), *(_line("td", row) for row in shown)]
    above = f"<p>{escape(title)}</p>" if title else ""
    return f"{above}<table>{''.join(lines)}</table>"


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(tag: str, cells: Iterable[str]) -> str:
    drawn = (f"<{tag} align='left'>{escape(cell[:LONGEST])}</{tag}>" for cell in cells)
    return f"<tr>{''.join(drawn)}</tr>"
