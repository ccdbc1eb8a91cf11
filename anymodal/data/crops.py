"""Crops that all modalities of a sample share: drawn at random, from a seed and a name, or as stored with tokens."""

from __future__ import annotations

import hashlib
import math

import attrs
import numpy as np

from anymodal.crops import Crop
from anymodal.data.config import CropConfig
from anymodal.data.files.alignment import same_ratio
from anymodal.errors import ConfigError, ValueProblem

TRIES = 10
ROUNDED = 2  # pixels by which the centered crop may be off


def random_crop(config: CropConfig, width: float, height: float, rng: np.random.Generator) -> Crop:
    """A crop of a picture of that size, drawn as by torchvision's RandomResizedCrop.

    Area and the logarithm of the ratio are uniform; after ten that do not fit, the largest centered one whose ratio is
    within its range.
    """
    low, high = (math.log(bound) for bound in config.ratio)
    flip = bool(rng.random() < config.flip)
    for _ in range(TRIES):
        area = width * height * rng.uniform(*config.scale)
        ratio = math.exp(rng.uniform(low, high))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return Crop(left / width, top / height, w / width, h / height, flip)
    ratio = min(max(width / height, config.ratio[0]), config.ratio[1])
    w, h = min(width, height * ratio), min(height, width / ratio)
    return Crop((1 - w / width) / 2, (1 - h / height) / 2, w / width, h / height, flip)


def stored_crop(settings: np.ndarray, row: int, extent: tuple[float, float] | None) -> Crop:
    """Row `row` of crop settings (crops, 5), each (top, left, height, width, flip) in pixels of the picture.

    `extent` is the (width, height) of what shows the picture, which may have fewer pixels than that, or more: the
    picture's own follows from row 0 where that is its centered square, as it is in published data. Raises ValueProblem
    for a crop that is not within the picture.
    """
    top, left, height, width, flip = (float(number) for number in settings[row])
    stated = _extent_of(settings[0].astype(np.float64))
    if extent is None or _is_other_size(settings, stated, extent):
        extent = stated
    inside = min(top, left) >= 0 and min(width, height) > 0
    if not inside or left + width > extent[0] + 1 or top + height > extent[1] + 1:
        raise ValueProblem(
            f"crop {row} (top {top:g}, left {left:g}, height {height:g}, width {width:g}) lies outside the picture of"
            f" {extent[0]:g} x {extent[1]:g} pixels"
        )
    return Crop(left / extent[0], top / extent[1], width / extent[0], height / extent[1], flip > 0.5)


def _extent_of(crop: np.ndarray) -> tuple[float, float]:
    """The (width, height) of the picture in whose middle a crop (5,) lies."""
    top, left, height, width = map(float, crop[:4])
    return width + 2 * left, height + 2 * top


def _is_other_size(settings: np.ndarray, stated: tuple[float, float], extent: tuple[float, float]) -> bool:
    """Whether crops are of a picture as row 0 states it, the largest square in its middle, and `extent` is another size
    of that."""
    top, left, height, width = settings[0, :4]
    fit = (settings[:, :2] + settings[:, 2:4] <= np.array(stated[::-1]) + 1).all()
    square = min(top, left) < 1 and abs(height - width) < 1
    return bool(fit and square and same_ratio(stated, extent) and abs(max(stated) - max(extent)) > ROUNDED)


@attrs.frozen
class Crops:
    """`count` crops of every sample, the first of which is the centered square as it is.

    The others cover a share of the picture's area drawn from `scale`, with width / height in pixels drawn from `ratio`
    (evenly in its logarithm), and half of them are mirrored with `flip` (Szegedy et al. 2015, section 6).
    """

    count: int = 1
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        (least, most), (narrow, wide) = self.scale, self.ratio
        if self.count < 1 or not 0 < least <= most <= 1 or not 0 < narrow <= wide < math.inf:
            raise ConfigError(
                "crops need a count of at least 1, a scale 0 < a <= b <= 1 and a ratio 0 < a <= b, got"
                f" {self.count}, {least:g},{most:g} and {narrow:g},{wide:g}"
            )

    def rng(self, name: str, number: int) -> np.random.Generator:
        """Randomness that belongs to one crop of one sample."""
        return np.random.default_rng([self.seed, int(hashlib.sha256(name.encode()).hexdigest()[:16], 16), number])

    def draw(self, name: str, extent: tuple[float, float] | None) -> list[Crop]:
        """The crops of a sample whose picture has that extent (width, height); without one it counts as a square."""
        width, height = extent or (1.0, 1.0)
        config = CropConfig(scale=self.scale, ratio=self.ratio, flip=0.5 * self.flip)
        others = [random_crop(config, width, height, self.rng(name, number)) for number in range(1, self.count)]
        return [Crop.center(width, height), *others]
