"""Crops that all modalities of a sample share: drawn at random, or taken from settings that were stored with tokens."""

from __future__ import annotations

import math

import numpy as np

from anymodal.data.config import CropConfig
from anymodal.errors import ValueProblem
from anymodal.modality import Crop

TRIES = 10


def random_crop(config: CropConfig, width: float, height: float, rng: np.random.Generator) -> Crop:
    """A crop of a picture of that size, drawn as by torchvision's RandomResizedCrop.

    Area and the logarithm of the ratio are uniform; after ten that do not fit, the largest centred one whose ratio is
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

    `extent` is the picture's (width, height); without it, it follows from row 0, which is the centred crop.
    Raises ValueProblem for a crop that is not within the picture.
    """
    top, left, height, width, flip = (float(number) for number in settings[row])
    if extent is None:
        first = settings[0].astype(np.float64)
        extent = float(first[3] + 2 * first[1]), float(first[2] + 2 * first[0])
    inside = min(top, left) >= 0 and min(width, height) > 0
    if not inside or left + width > extent[0] + 1 or top + height > extent[1] + 1:
        raise ValueProblem(
            f"crop {row} (top {top:g}, left {left:g}, height {height:g}, width {width:g}) lies outside the picture of"
            f" {extent[0]:g} x {extent[1]:g} pixels"
        )
    return Crop(left / extent[0], top / extent[1], width / extent[0], height / extent[1], flip > 0.5)
