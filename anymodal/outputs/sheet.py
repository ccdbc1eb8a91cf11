"""Titled pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anymodal.families.drawing import SCALED, draw_scale

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

TILE, TITLE, GAP = 256, 26, 8


def contact_sheet(rows: list[list[tuple[str, Image] | None]], tile: int = TILE) -> Image:
    """Titled pictures in rows on white, each with its own proportions; None leaves a place empty."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    step_x, step_y = tile + GAP, tile + GAP + TITLE
    width, height = max(map(len, rows)) * step_x + GAP, len(rows) * step_y + GAP
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if cell is not None:
                title, picture = cell
                x, y = GAP + c * step_x, GAP + r * step_y
                draw.text((x + 2, y + 4), title, (40, 40, 40), font)
                sheet.paste(ImageOps.pad(picture.convert("RGB"), (tile, tile), color="white"), (x, y + TITLE))
    return sheet


def gray_map(values: np.ndarray, size: int, unit: str = "") -> Image:
    """Numbers (H, W) from 0 up, in a unit, as a gray picture with its scale: the largest is white."""
    from PIL import Image

    largest = float(np.nanmax(values, initial=0.0))
    shares = np.nan_to_num(values) / max(largest, 1e-12)
    gray = Image.fromarray((shares * 255).clip(0, 255).astype(np.uint8))
    picture = gray.resize((size, size), Image.Resampling.NEAREST).convert("RGB")
    if size >= SCALED:
        draw_scale(picture, ((0, 0, 0), (255, 255, 255)), "0", f"{largest:.2g} {unit}".rstrip())
    return picture


def stacked(pictures: Sequence[Image]) -> Image:
    """Pictures below each other, on white."""
    from PIL import Image

    width, height = max((p.width for p in pictures), default=1), max(1, sum(p.height for p in pictures))
    sheet, top = Image.new("RGB", (width, height), (255, 255, 255)), 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet
