"""The any-to-any matrix as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from anymodal.families.drawing import font_of
from anymodal.files import replacing
from benchmarks.claims.base import lower

CELL, LEFT, TOP = 46, 150, 140
BOTH, ONE, NONE, EMPTY = (76, 145, 92), (232, 178, 84), (196, 92, 80), (238, 238, 238)


def draw(cells: Mapping[tuple[str, str], Mapping[str, Any]], path: Path) -> None:
    """Rows are inputs, columns targets: the score, green where it beats the constant and shuffled inputs both."""
    inputs = list(dict.fromkeys(given for given, _ in cells))
    targets = list(dict.fromkeys(target for _, target in cells))
    sheet = Image.new("RGB", (LEFT + CELL * len(targets) + 8, TOP + CELL * len(inputs) + 36), (255, 255, 255))
    pen, small, large = ImageDraw.Draw(sheet), font_of(12), font_of(13)
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
                pen.text((x + CELL // 2, y + CELL // 2), f"{cell['own']:.3g}", (255, 255, 255), small, "mm")
    names = {target: next(c["score"] for (_, t), c in cells.items() if t == target) for target in targets}
    less = ", ".join(target for target, score in names.items() if lower(score))
    told = "green: better than the constant and than shuffled inputs; yellow: than one of them; red: than neither."
    text = f"{told} Less is better: {less}"
    pen.text((8, sheet.height - 26), text, (60, 60, 60), small)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as made:
        sheet.save(made, "PNG", optimize=True)
