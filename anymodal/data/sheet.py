"""A picture of a few samples of a dataset with all their parts, laid over the photograph where they cover it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.sources.open import layout_of_dataset
from anymodal.errors import DataError, cause
from anymodal.files import replacing
from anymodal.modality import Modality
from anymodal.plugins.guard import blame

if TYPE_CHECKING:
    from PIL.Image import Image

TILE, TITLE, GAP = 192, 18, 6
SAMPLES = 6
Values = Mapping[str, tuple[Modality, Any]]


def write_sheet(
    path: str | Path,
    out: Path,
    modalities: Mapping[str, Modality] | None = None,
    names: Mapping[str, str] | None = None,
    count: int | None = None,
) -> None:
    """Draw samples from all over a dataset, a line each, into a PNG file.

    Args:
        path: a dataset of natural values.
        out: the picture.
        modalities: those to look for, all installed ones by default.
        names: the folders, or columns, of modalities that are named otherwise there.
        count: only of the first samples.

    Raises:
        DataError: the dataset cannot be opened, none of the samples can be read, or the file cannot be written.
        ConfigError: the dataset holds no natural values.
    """
    config = DataConfig(path=str(path), names=names or {}, count=count)
    sheet = draw_sheet(layout_of_dataset(config.path).look(config, modalities, SAMPLES))
    if sheet is None:
        raise DataError(f"{path} has no sample that can be drawn")
    save_sheet(sheet, out)


def save_sheet(sheet: Image, out: Path) -> None:
    """Write the picture of `draw_sheet` as PNG, whole or not at all. Raises DataError."""
    try:
        with replacing(out) as temporary:
            sheet.save(temporary, "PNG")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot write {out}: {cause(error)}") from None


def draw_sheet(samples: Iterable[tuple[str, Values]], *, laid: bool = True) -> Image | None:
    """The picture of samples, each by its name and its values by part; None for none.

    `laid` lays maps half transparent over the photograph, which shows whether they fit it, and hides their own colors.
    """
    from PIL import Image

    lines = [list(_line(name, values, laid)) for name, values in samples]
    lines = [line for line in lines if line]
    if not lines:
        return None
    across = max(map(len, lines))
    step, height = TILE + GAP, TILE + TITLE + GAP
    sheet = Image.new("RGB", (across * step + GAP, len(lines) * height + GAP), (255, 255, 255))
    for row, line in enumerate(lines):
        for column, tile in enumerate(line):
            sheet.paste(tile, (GAP + column * step, GAP + row * height))
    return sheet


def _line(name: str, values: Values, laid: bool) -> Iterable[Image]:
    """A titled picture of each part of a sample, the photograph first."""
    ordered = sorted(values.items(), key=lambda item: not item[1][0].photographic)
    scene = next((value for _, (m, value) in ordered if m.photographic and _is_photograph(value)), None)
    for part, (modality, value) in ordered:
        with blame(modality, "show", value):
            yield _titled(_picture(modality, value, scene, laid), part if part != ordered[0][0] else f"{part} {name}")


def _is_photograph(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[2] == 3 and value.dtype == np.uint8


def _picture(modality: Modality, value: Any, scene: np.ndarray | None, laid: bool) -> Image:
    """A value for people; `laid` over the scene it is half transparent, in its own shape, so that others stand out."""
    from PIL import Image

    if scene is None or modality.photographic:
        return _fitted(modality.show(value, TILE).convert("RGB"))
    shown = modality.show_over(value, scene, TILE).convert("RGB")
    if not laid or not modality.aligned or type(modality).show_over is not Modality.show_over:
        return _fitted(shown)
    below = _fitted(Image.fromarray(scene))
    extent = modality.extent(value)
    size = shown.size if extent is None else (max(1, round(extent[0])), max(1, round(extent[1])))
    over = _fitted(shown.resize(size if max(size) <= 4 * TILE else shown.size))
    mask = Image.new("L", over.size, 0)
    mask.paste(170, _box(over.size, size))
    return Image.composite(over, below, mask)


def _box(square: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a picture of that size lies in a square that it fits."""
    scale = square[0] / max(size)
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (square[0] - width) // 2, (square[1] - height) // 2
    return left, top, left + width, top + height


def _fitted(picture: Image) -> Image:
    """A picture in the middle of a square tile, whole."""
    from PIL import Image

    tile = Image.new("RGB", (TILE, TILE), (225, 225, 225))
    box = _box(tile.size, picture.size)
    tile.paste(picture.resize((box[2] - box[0], box[3] - box[1])), box)
    return tile


def _titled(tile: Image, title: str) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    whole = Image.new("RGB", (TILE, TILE + TITLE), (255, 255, 255))
    whole.paste(tile, (0, TITLE))
    font = ImageFont.load_default(12)
    ImageDraw.Draw(whole).text((2, 2), title if len(title) <= 28 else f"{title[:13]}…{title[-13:]}", (30, 30, 30), font)
    return whole
