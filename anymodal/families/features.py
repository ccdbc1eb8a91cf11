"""Feature maps: what a network sees at each place of the picture, one vector a cell, tokenized cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.families.arrays import ArrayModality
from anymodal.families.grids import CroppedGrid
from anymodal.families.image import enlarge

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np


class FeatureMapModality(ArrayModality, CroppedGrid):
    """Values are float32 arrays (rows, columns, channels) that cover the picture; files are .npy arrays of them.

    A cell stands for `patch` x `patch` pixels of a picture of `size` pixels a side, and becomes one token. Crops and
    flips move the cells as they move the picture; between cells, features are interpolated. Tensors are (channels,
    rows, columns); what is not finite becomes 0.
    """

    family: ClassVar[str] = "feature map"
    settings: ClassVar[tuple[str, ...]] = (*CroppedGrid.settings, "channels")
    suffixes: ClassVar[tuple[str, ...]] = (".npy",)
    loss: ClassVar[str] = "smooth_l1"
    channels: int = 768

    def cells_at(self, size: int) -> int:
        return size // self.patch

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        whole = {"patch_projection": False}
        return super().tokenizer_config({**whole, **encoder}, {**whole, **decoder}, **options)

    @property
    def expected(self) -> str:
        return f"features of shape (rows, columns, {self.channels})"

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[2] == self.channels and 0 not in shape

    def extent(self, value: Any) -> tuple[float, float] | None:
        return float(value.shape[1] * self.patch), float(value.shape[0] * self.patch)

    def preprocess(self, value: Any) -> np.ndarray:
        return np.ascontiguousarray(finite(value).astype(np.float32).transpose(2, 0, 1))

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(tensor.transpose(1, 2, 0), np.float32)

    def show(self, value: Any, size: int = 256) -> Image:
        """The three directions in which the features differ most, as red, green and blue."""
        from PIL import Image

        features = finite(value)
        unit = principal_colors(features.reshape(-1, features.shape[2])).reshape(*features.shape[:2], 3)
        return enlarge(Image.fromarray((unit * 255).round().astype(np.uint8)), size)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Cosine similarity of the vectors, mean over cells, and smooth L1 error, mean over numbers; all values."""
        cosines, errors = [], []
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = finite(prediction), finite(truth)
            cosines.append(cosine_similarity(p, t).mean())
            errors.append(smooth_l1(p, t).mean())
        return {"cosine": float(np.mean(cosines)), "smooth_l1": float(np.mean(errors))}


def finite(value: Any) -> np.ndarray:
    """A value as float64, with 0 for what is not finite."""
    return np.nan_to_num(np.asarray(value, np.float64), nan=0, posinf=0, neginf=0)


@attrs.frozen
class Principal:
    """The main directions (3, channels) of a set of vectors and their mean (channels,)."""

    mean: np.ndarray
    directions: np.ndarray


def principal(vectors: np.ndarray) -> Principal:
    """Principal components of vectors (N, channels), each signed so that its largest weight is positive."""
    mean = vectors.mean(0)
    directions = np.linalg.svd(vectors - mean, full_matrices=False)[2][:3]
    largest = np.abs(directions).argmax(1)
    return Principal(mean, directions * np.sign(directions[np.arange(len(directions)), largest])[:, None])


def principal_colors(vectors: np.ndarray) -> np.ndarray:
    """Colors (N, 3) in 0..1 of vectors (N, channels): their principal components between the 1 and 99 % quantiles.

    Each component grows from the first vector to the last, so that maps of one scene have like colors.
    """
    main = principal(vectors)
    scores = np.zeros((len(vectors), 3))
    scores[:, : len(main.directions)] = (vectors - main.mean) @ main.directions.T
    scores *= np.where(np.linspace(-1, 1, len(scores)) @ scores < 0, -1, 1)
    low, high = np.percentile(scores, [1, 99], axis=0)
    span = high - low
    return np.where(span > 1e-12, (scores - low) / np.maximum(span, 1e-12), 0.5).clip(0, 1)


def cosine_similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosines (...) between vectors (..., channels); two vectors of length zero have 1, one of them 0."""
    lengths = np.linalg.norm(left, axis=-1), np.linalg.norm(right, axis=-1)
    product = lengths[0] * lengths[1]
    both_zero = (lengths[0] == 0) & (lengths[1] == 0)
    return np.where(both_zero, 1.0, (left * right).sum(-1) / np.where(product > 0, product, 1))


def smooth_l1(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Quadratic below a difference of 1, linear above (Girshick 2015, "Fast R-CNN", equation 3)."""
    difference = np.abs(left - right)
    return np.where(difference < 1, 0.5 * difference**2, difference - 0.5)
