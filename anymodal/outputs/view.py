"""A picture of a value for people, with what its colors mean below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anymodal.families.drawing import font_of
from anymodal.modality import Modality

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE, LINE, SWATCH, EDGE = 512, 22, 14, 6  # pixels
MOST = 40  # entries of a legend


def view(modality: Modality, value: Any) -> Image:
    """The picture that `show` makes, and the modality's `legend` of the value below it."""
    from PIL import Image, ImageDraw

    picture = modality.show(value, SIZE).convert("RGB")
    entries = modality.legend(value)
    if len(entries) > MOST:
        entries = [*entries[: MOST - 1], (None, f"and {len(entries) - MOST + 1} more")]
    font, places = font_of(15), list[tuple[float, int]]()
    x, row = float(EDGE), 0
    for color, text in entries:
        width = font.getlength(text) + (SWATCH + EDGE if color else 0)
        if x > EDGE and x + width > picture.width - EDGE:
            x, row = float(EDGE), row + 1
        places.append((x, row))
        x += width + 2 * EDGE
    height = (row + 1) * LINE + EDGE if entries else 0
    sheet = Image.new("RGB", (picture.width, picture.height + height), (255, 255, 255))
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for (left, line), (color, text) in zip(places, entries, strict=True):
        top = picture.height + EDGE + line * LINE
        if color is not None:
            draw.rectangle((left, top + 1, left + SWATCH, top + 1 + SWATCH), fill=color)
            left += SWATCH + EDGE
        draw.text((left, top), text, (40, 40, 40), font)
    return sheet
