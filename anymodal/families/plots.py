"""Plots of numbers over time, with what people need to read them: the range, the unit and the seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymodal.families.boxes import bright
from anymodal.families.drawing import FAINT, INK, font_of, paper, shortened

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

# From dark to bright, each brighter than the one before: legible in gray too.
HEAT = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))


def line_plot(values: np.ndarray, low: float, high: float, seconds: float, unit: str, size: int) -> Image:
    """Values (samples, channels) as one line a channel; where samples share a column, from their least to the largest.

    Args:
        values: finite numbers.
        low: number at the bottom. high: at the top; what lies beyond is cut off.
        seconds: how long all of it takes.
        unit: of the numbers, or an empty text.
        size: pixels a side of the picture.
    """
    from PIL import ImageDraw

    picture, (left, top, right, bottom) = _frame(low, high, seconds, unit, size)
    draw, width = ImageDraw.Draw(picture), right - left
    zero = bottom - (min(max(0.0, low), high) - low) / (high - low) * (bottom - top)
    draw.line((left, zero, right, zero), FAINT)
    heights = bottom - (values.clip(low, high) - low) / (high - low) * (bottom - top)
    for channel in range(min(values.shape[1], 8)):
        columns = np.array_split(heights[:, channel], min(width, len(values)))
        x = left + np.linspace(0, width, len(columns) + 1)[:-1] + width / len(columns) / 2
        points = [(at, y) for at, part in zip(x.tolist(), columns, strict=True) for y in (part.min(), part.max())]
        draw.line([(at, float(y)) for at, y in points], bright(channel))
    return picture


def heat_map(values: np.ndarray, low: float, high: float, seconds: float, unit: str, size: int) -> Image:
    """Values (rows, frames) as colors, dark for `low` and bright for `high`, the first row lowest; see `line_plot`."""
    from PIL import Image

    picture, (left, top, right, bottom) = _frame(low, high, seconds, unit, size)
    share = (values.clip(low, high) - low) / (high - low)
    stops = np.linspace(0, 1, len(HEAT))
    colors = np.stack([np.interp(share, stops, [color[k] for color in HEAT]) for k in range(3)], -1)
    drawn = Image.fromarray(colors[::-1].round().astype(np.uint8)).resize((right - left, bottom - top))
    picture.paste(drawn, (left, top))
    return picture


def _frame(low: float, high: float, seconds: float, unit: str, size: int) -> tuple[Image, tuple[int, int, int, int]]:
    """A square of paper with its words, and the box (left, top, right, bottom) in which the numbers are drawn."""
    from PIL import ImageDraw

    picture = paper(size)
    draw, font = ImageDraw.Draw(picture), font_of(size / 20)
    edge = max(2, size // 64)
    line = round(size / 14)
    box = (edge, edge + line, size - edge, size - edge - line)
    draw.text((edge, edge), shortened(f"{low:.4g} to {high:.4g} {unit}".rstrip(), size - 2 * edge, font), INK, font)
    draw.text((size - edge, size - edge), f"{seconds:.3g} s", INK, font, "rs")
    return picture, box
