"""The any-to-any matrix as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from anymodal.families.drawing import font_of, wrapped
from anymodal.files import replacing
from benchmarks.claims.base import lower

CELL, LEFT, TOP, LINE = 46, 150, 140, 17
BOTH, ONE, NONE, EMPTY = (76, 145, 92), (201, 138, 30), (196, 92, 80), (238, 238, 238)


def draw(cells: Mapping[tuple[str, str], Mapping[str, Any]], path: Path) -> None:
    """Rows are inputs, columns targets: the score, green where it beats the constant and shuffled inputs both."""
    inputs = list(dict.fromkeys(given for given, _ in cells))
    targets = sorted({target for _, target in cells}, key=[*inputs, *(target for _, target in cells)].index)
    width = LEFT + CELL * len(targets) + 8
    small, large = font_of(12), font_of(13)
    told = wrapped(_legend(cells, targets), width - 16, small, 8)
    bottom = TOP + CELL * len(inputs) + 10
    sheet = Image.new("RGB", (width, bottom + LINE * len(told) + 8), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for column, target in enumerate(targets):
        word = Image.new("RGB", (TOP - 8, 18), (255, 255, 255))
        ImageDraw.Draw(word).text((0, 1), target, (30, 30, 30), large)
        sheet.paste(word.rotate(90, expand=True), (LEFT + CELL * column + 14, 4))
    for row, given in enumerate(inputs):
        pen.text((LEFT - 8, TOP + CELL * row + CELL // 2), given, (30, 30, 30), large, "rm")
        for column, target in enumerate(targets):
            cell = cells.get((given, target))
            color = EMPTY if cell is None else (NONE, ONE, BOTH)[cell["beats constant"] + cell["beats shuffled"]]
            x, y = LEFT + CELL * column, TOP + CELL * row
            pen.rectangle((x + 1, y + 1, x + CELL - 2, y + CELL - 2), color)
            if cell is not None:
                own = cell["own"]
                number = f"{own:.3f}" if abs(own) < 1 else f"{own:.3g}"
                pen.text((x + CELL // 2, y + CELL // 2), number, (255, 255, 255), small, "mm")
    for k, line in enumerate(told):
        pen.text((8, bottom + LINE * k), line, (60, 60, 60), small)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as made:
        sheet.save(made, "PNG", optimize=True)


def _legend(cells: Mapping[tuple[str, str], Mapping[str, Any]], targets: list[str]) -> str:
    scores = {target: next(cell["score"] for (_, t), cell in cells.items() if t == target) for target in targets}
    less = ", ".join(target for target, score in scores.items() if lower(score))
    return (
        "rows: inputs; columns: targets; green: better than the constant and than shuffled inputs; yellow: than one of"
        f" them; red: than neither. Less is better: {less}."
    )
