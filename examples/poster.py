"""A poster of pictures with titles: what the demo is drawn on."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH, EDGE, GAP, LINE = 1200, 14, 8, 24  # pixels; a line is the height of a title
PAPER, INK, QUIET, ACCENT = (255, 255, 255), (30, 30, 35), (105, 105, 112), (40, 95, 170)


def font(points: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


def page(lines: Sequence[str], side: int) -> Image.Image:
    """Words in the middle of a square."""
    picture = Image.new("RGB", (side, side), PAPER)
    draw = ImageDraw.Draw(picture)
    for k, line in enumerate(lines):
        draw.text((side / 2, side / 2 + (k - (len(lines) - 1) / 2) * LINE), line, QUIET, font(16), "mm")
    return picture


class Panel:
    """Rows of tiles and lines of words below each other, `width` pixels wide."""

    def __init__(self, width: int) -> None:
        self.width, self.parts, self.height = width, list[tuple[int, int, Image.Image]](), 0

    def heading(self, words: str, more: str = "") -> None:
        """A title, and quieter words on its line."""
        strip = Image.new("RGB", (self.width, 36), PAPER)
        draw, large, small = ImageDraw.Draw(strip), font(21), font(15)
        draw.text((0, 25), words, INK, large, "ls")
        draw.text((draw.textlength(words, large) + 14, 25), more, QUIET, small, "ls")
        self._add(strip)

    def words(self, text: str, color: tuple[int, int, int] = INK, points: int = 15) -> None:
        """A line of words, which ends where the panel does."""
        strip, kind = Image.new("RGB", (self.width, LINE), PAPER), font(points)
        while ImageDraw.Draw(strip).textlength(text, kind) > self.width:
            text = f"{text.rstrip('… ')[:-1]}…"
        ImageDraw.Draw(strip).text((0, LINE - 7), text, color, kind, "ls")
        self._add(strip)

    def tiles(self, pictures: Sequence[Image.Image | None], titles: Sequence[str] = ()) -> None:
        """Pictures side by side, each a square, with titles above."""
        count = len(pictures)
        side, top = (self.width - (count - 1) * GAP) // count, LINE if titles else 0
        row = Image.new("RGB", (self.width, side + top), PAPER)
        for k, picture in enumerate(pictures):
            x = k * (side + GAP)
            if titles:
                ImageDraw.Draw(row).text((x + 1, top - 7), titles[k], INK, font(15), "ls")
            if picture is not None:
                row.paste(picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), (x, top))
        self._add(row, GAP)

    def side(self, count: int) -> int:
        """The side in pixels of one of so many tiles."""
        return (self.width - (count - 1) * GAP) // count

    def _add(self, strip: Image.Image, gap: int = 0) -> None:
        self.parts.append((0, self.height, strip))
        self.height += strip.height + gap

    def drawn(self) -> Image.Image:
        canvas = Image.new("RGB", (self.width, self.height), PAPER)
        for x, y, part in self.parts:
            canvas.paste(part, (x, y))
        return canvas


def poster(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Panels side by side in rows, on one sheet."""
    heights = [max(panel.height for panel in row) + EDGE for row in rows]
    sheet = Image.new("RGB", (WIDTH, sum(heights) + EDGE), PAPER)
    top = EDGE
    for row, height in zip(rows, heights, strict=True):
        left = EDGE
        for panel in row:
            sheet.paste(panel.drawn(), (left, top))
            left += panel.width + 2 * EDGE
        top += height
    return sheet
