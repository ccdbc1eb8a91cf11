"""What a model makes of photographs, of what follows from their pixels alone.

`python -m benchmarks photographs`

Squares of the photographs of a folder, at random places and sizes, are given as rgb. Edges, palette and numbers of the
picture are generated and compared with what is computed from it; the picture itself goes through its tokens. Beside
each score stand that of the truth through the tokenizer alone, and that of the truths of other squares. No photograph
of `examples/photos` was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from PIL import Image, ImageOps

import anymodal as am
from anymodal.crops import Crop
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.tiny21 import generated, table, through_tokenizer

COMPUTED = ("canny_edge", "color_palette", "metadata_image")
SMALLEST = 1 / 3  # side of a square, in short sides of its photograph


def squares(folder: Path, count: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Pictures (size, size, 3), as many of each photograph, at random places and sizes."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    pictures = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in files]
    rng = np.random.default_rng(seed)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = min(picture.size) * rng.uniform(SMALLEST, 1)
        left, top = rng.uniform(0, picture.width - side), rng.uniform(0, picture.height - side)
        box = (left, top, left + side, top + side)
        yield np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box))


def computed(model: am.AnyModel, picture: np.ndarray) -> dict[str, Any]:
    """A picture and what follows from it, in the sizes of the model."""
    values: dict[str, Any] = {"rgb": picture}
    for name in COMPUTED:
        modality = model.modalities[name]
        values[name] = modality.crop(modality.derive(values), Crop())
    return values


@BENCHMARKS.register("photographs")
@attrs.frozen
class Photographs(Figures):
    """Edges, palettes and numbers of photographs, and photographs through their tokens."""

    model: str = "tiny"
    folder: str = "examples/photos"
    count: int = 100
    seed: int = 0

    def run(self, quick: bool) -> dict[str, Any]:
        model = am.load(self.model)
        rgb = model.modalities["rgb"]
        count = 8 if quick else self.count
        samples = [computed(model, each) for each in squares(Path(self.folder), count, rgb.size, self.seed)]
        pictures = [sample["rgb"] for sample in samples]
        tokens = rgb.score(through_tokenizer(rgb, pictures), pictures)
        return {"rgb": {"tokenizer": tokens}, **table(model, samples, generated(model, samples, "rgb", list(COMPUTED)))}
