"""Words on paper and beside scales: what pictures of texts, tables, empty values and numbers are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

PAPER, INK, FAINT = (250, 249, 246), (45, 45, 50), (165, 162, 154)
SMALLEST = 5  # points; smaller letters have no shape
SCALED = 128  # pixels from which a picture has its scale drawn in


def paper(size: int) -> Image:
    """An empty square."""
    from PIL import Image

    return Image.new("RGB", (size, size), PAPER)


def note(canvas: Image, words: str) -> Image:
    """The picture itself, with a few quiet words in its middle: what there is to say of an empty value."""
    from PIL import ImageDraw

    draw, font = ImageDraw.Draw(canvas), font_of(canvas.width / 16)
    middle, edge = (canvas.width / 2, canvas.height / 2), max(2, canvas.width // 32)
    x0, y0, x1, y1 = draw.textbbox(middle, words, font, "mm")
    draw.rounded_rectangle((x0 - edge, y0 - edge, x1 + edge, y1 + edge), edge, PAPER)
    draw.text(middle, words, FAINT, font, "mm")
    return canvas


def text_page(text: str, size: int) -> Image:
    """A text in the largest type that fits the square; where none does, its beginning and an ellipsis."""
    from PIL import ImageDraw

    canvas = paper(size)
    draw, room = ImageDraw.Draw(canvas), size * 0.9
    for points in range(max(12, size // 10), SMALLEST - 1, -1):
        font, height = font_of(points), points * 1.35
        fitting = max(1, int(room / height))
        lines = wrapped(text, room, font, fitting + 1)
        if len(lines) <= fitting:
            break
    if len(lines) > fitting:
        lines = [*lines[: fitting - 1], shortened(f"{lines[fitting - 1]}…", room, font)]
    top = (size - len(lines) * height) / 2
    for k, line in enumerate(lines):
        draw.text((size / 2, top + (k + 0.5) * height), line, INK, font, "mm")
    return canvas


def font_of(points: float) -> Any:
    """The type in which everything is written, at least SMALLEST points."""
    from PIL import ImageFont

    return ImageFont.load_default(max(SMALLEST, points))


def wrapped(text: str, room: float, font: Any, most: int) -> list[str]:
    """The first `most` lines of words that are at most `room` pixels wide; longer words are broken."""
    lines: list[str] = []
    longest = 4 * int(room + 1)  # letters that a line has at the very most
    for word in text.split():
        if len(lines) >= most:
            break
        if lines and len(lines[-1]) + len(word) < longest and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
            continue
        while len(lines) < most and len(word) > 1 and (width := font.getlength(start := word[:longest])) > room:
            count = max(1, int(len(start) * room / width))
            lines, word = [*lines, word[:count]], word[count:]
        lines.append(word)
    return lines[:most]


def shortened(text: str, room: float, font: Any) -> str:
    """The text, or its beginning and an ellipsis, at most `room` pixels wide."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text.rstrip()}…" if text else ""


def marked(picture: Image, places: Sequence[tuple[float, float]], words: Sequence[str]) -> Image:
    """The picture itself, with words at places (x, y) in fractions of it, light with dark edges."""
    from PIL import ImageDraw

    draw, font = ImageDraw.Draw(picture), font_of(picture.width / 14)
    for (x, y), text in zip(places, words, strict=True):
        half, high = draw.textlength(text, font) / 2 + 2, picture.width / 28 + 2
        across = min(max(x * picture.width, half), picture.width - half)
        down = min(max(y * picture.height, high), picture.height - high)
        draw.text((across, down), text, (255, 255, 255), font, "mm", stroke_width=2, stroke_fill=(0, 0, 0))
    return picture


def draw_scale(picture: Image, colors: Sequence[tuple[int, int, int]], first: str, last: str) -> None:
    """Draw a scale of colors, with words at its ends, into the lower left of a picture."""
    from PIL import ImageDraw

    draw, font = ImageDraw.Draw(picture), font_of(max(9, picture.width / 18))
    edge, height = picture.width / 32, max(4, picture.width / 40)
    x, y = edge, picture.height - edge - height
    x += draw.textlength(first, font) + edge / 2
    right = x + picture.width * 0.3
    stops, steps = np.linspace(0, 1, len(colors)), round(right - x)
    for k in range(steps):
        color = [round(float(np.interp(k / steps, stops, [c[channel] for c in colors]))) for channel in range(3)]
        draw.line((x + k, y, x + k, y + height), tuple(color))
    draw.rectangle((x - 1, y - 1, x + steps, y + height + 1), outline=(255, 255, 255))
    for place, words, anchor in ((edge, first, "lm"), (right + edge / 2, last, "lm")):
        draw.text((place, y + height / 2), words, (255, 255, 255), font, anchor, stroke_width=1, stroke_fill=(0, 0, 0))
