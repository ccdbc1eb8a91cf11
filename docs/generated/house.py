"""The house, drawn: the order of folders that a test holds, from the foundations at the bottom to the roof."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

import anymodal
from anymodal.plugins.public import PUBLIC_MODULES

ROOT = Path(anymodal.__file__).parent
WIDTH, EDGE, FLOOR, GAP, ROOF = 400, 14, 24, 4, 54
INSIDE = WIDTH - 2 * EDGE
LETTER, PADDING = 6.7, 8  # of the font, in pixels
FRAME = 'fill="none" stroke="currentColor" stroke-opacity="0.5"'


@attrs.frozen
class Room:
    """A folder or module with its place, counted in floors from the ground."""

    name: str
    x: float
    width: float
    floor: int

    @property
    def is_public(self) -> bool:
        return self.name in PUBLIC_MODULES


def order() -> list[str]:
    """The folders and modules from foundations to the command line, as the test of imports has them."""
    sys.path.insert(0, str(ROOT.parent / "tests"))
    from test_imports import ORDER

    return [name for name in ORDER if not name.startswith("__")]


def floors(names: Sequence[str]) -> list[list[str]]:
    """The names on each floor, from the ground: a floor for each folder; modules share one as long as they fit."""
    made: list[list[str]] = [[]]
    for name in names:
        apart = _is_folder(name) or any(map(_is_folder, made[-1]))
        if made[-1] and (apart or _least([*made[-1], name]) > INSIDE):
            made.append([])
        made[-1].append(name)
    return made


def rooms(names: Sequence[str]) -> Iterator[Room]:
    """Every name in its place; those of a floor fill it."""
    for floor, mine in enumerate(floors(names)):
        spare = (INSIDE - _least(mine)) / len(mine)
        x = float(EDGE)
        for name in mine:
            width = _least([name]) + spare
            yield Room(name, x, width, floor)
            x += width + GAP


def _least(names: Sequence[str]) -> float:
    """The width that names need beside each other."""
    return sum(LETTER * len(name) + 2 * PADDING for name in names) + GAP * (len(names) - 1)


def _is_folder(name: str) -> bool:
    return (ROOT / name).is_dir()


def drawing() -> str:
    """The drawing as SVG in a page: it takes the color of the text, and plugins' rooms that of links."""
    placed = list(rooms(order()))
    ground = ROOF + (placed[-1].floor + 1) * (FLOOR + GAP) + GAP
    height = ground + 48
    label = "The folders of anymodal as floors of a house, foundations below; imports go down."
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}" font-family="monospace" font-size="11">',
        f'<path d="M4 {ROOF} L{WIDTH / 2} 4 L{WIDTH - 4} {ROOF} V{ground} H4 Z" {FRAME}/>',
        _text(WIDTH / 2, ROOF - 16, "anymodal", "middle"),
        *(_room(room, ground) for room in placed),
        f'<rect x="6" y="{ground + 12}" width="12" height="12" {_paint(True)}/>',
        _text(24, ground + 22, "plugins may import it"),
        f'<rect x="206" y="{ground + 12}" width="12" height="12" {_paint(False)}/>',
        _text(224, ground + 22, "plugins may not"),
        _text(6, ground + 42, "imports go down, never up"),
        "</svg>",
    ]
    return "\n".join(['<div class="house">', *lines, "</div>"])


def _room(room: Room, ground: float) -> str:
    top = ground - (room.floor + 1) * (FLOOR + GAP)
    name = f"{room.name}/" if _is_folder(room.name) else room.name
    box = f'<rect x="{room.x:g}" y="{top}" width="{room.width:g}" height="{FLOOR}" rx="2" {_paint(room.is_public)}/>'
    return box + _text(room.x + PADDING, top + 16, name)


def _paint(is_public: bool) -> str:
    return 'fill="#ff6e40" fill-opacity="0.35"' if is_public else 'fill="currentColor" fill-opacity="0.08"'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="currentColor" text-anchor="{anchor}">{words}</text>'
