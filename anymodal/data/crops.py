"""Which parts of a picture are looked at: the centred square, and crops drawn from a seed and the sample's name."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np

from anymodal.data.config import CropConfig
from anymodal.data.cropping import random_crop
from anymodal.errors import ConfigError
from anymodal.modality import Crop


@attrs.frozen
class Crops:
    """`count` crops of every sample, the first of which is the centred square as it is.

    The others cover a share of the picture's area drawn from `scale`, with width / height in pixels drawn from `ratio`
    (evenly in its logarithm), and half of them are mirrored with `flip` (Szegedy et al. 2015, section 6).
    """

    count: int = 1
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        low, high = self.scale
        if self.count < 1 or not 0 < low <= high <= 1 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise ConfigError(
                f"crops need a count of at least 1 and a scale 0 < a <= b <= 1, got {self.count}, {low}, {high}"
            )

    def rng(self, name: str, number: int) -> np.random.Generator:
        """Randomness that belongs to one crop of one sample."""
        return np.random.default_rng([self.seed, int(hashlib.sha256(name.encode()).hexdigest()[:16], 16), number])

    def draw(self, name: str, extent: tuple[float, float] | None) -> list[Crop]:
        """The crops of a sample whose picture has that extent (width, height); without one it counts as a square."""
        width, height = extent or (1.0, 1.0)
        config = CropConfig(scale=self.scale, ratio=self.ratio, flip=0.5 * self.flip)
        others = [random_crop(config, width, height, self.rng(name, number)) for number in range(1, self.count)]
        return [Crop.centre(width, height), *others]
