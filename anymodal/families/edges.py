"""Edge maps: where something ends and something else begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.families.grids import strongest
from anymodal.families.image import ImageModality

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

NOTHING = 64  # up to here a value is drawn as no edge, and as far below 255 as one


class EdgeModality(ImageModality):
    """Values are uint8 arrays (H, W), 255 on an edge and 0 elsewhere; what is above 127 counts as an edge."""

    family: ClassVar[str] = "edges"
    dtype: ClassVar[str] = "uint8"
    smooth: ClassVar[bool] = False
    channels: int = 1
    low: float = 0.0
    high: float = 255.0

    def resized(self, value: np.ndarray, cells: int, box: tuple[float, float, float, float]) -> np.ndarray:
        """As the base says; a cell is as strong as its strongest pixel, so that thin edges survive."""
        return strongest(value, cells, box)

    def show(self, value: Any, size: int = 256) -> Image:
        """White where there is an edge; what is far from counting as one is black, and what is near it gray."""
        strength = (np.asarray(value, np.float32) - NOTHING) / (255 - 2 * NOTHING)
        return super().show((strength.clip(0, 1) * 255).astype(np.uint8), size)

    def likely(self, draws: list[np.ndarray]) -> np.ndarray:
        """The probabilities (2, H, W) of no edge and of an edge: the mean of what the draws decode to."""
        edge = (self.mean_tensor(self.tensors_of(draws))[0] + 1) / 2
        return np.stack([1 - edge, edge])

    def mean_tensor(self, tensors: Sequence[np.ndarray], shown: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """As the base says: of numbers that are probabilities, from -1 to 1."""
        return super().mean_tensor([np.clip(each, -1, 1) for each in tensors], shown)

    def true_classes(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes (H, W) of `likely` that a value has at the model's size, and where it has any."""
        edges = np.asarray(self.at(value, self.size)) > 127
        return edges.astype(np.int64), np.ones_like(edges)

    def averaged(self, draws: list[np.ndarray]) -> tuple[Any, np.ndarray | None]:
        """The value of the mean probability of an edge, and the entropy (H, W) of that, in nats."""
        mean = self.likely(draws)
        sure = self.calibrated(np.moveaxis(mean, 0, -1), "classes")
        entropy = -(sure * np.log(np.maximum(sure, 1e-12))).sum(-1)
        return self.postprocess(2 * mean[1:] - 1), entropy.astype(np.float32)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """F1 of edge pixels over all values, matched within one pixel (after Martin et al. 2004)."""
        hits = np.zeros(4)
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = (np.asarray(x) > 127 for x in (prediction, truth))
            hits += [(p & widened(t)).sum(), p.sum(), (t & widened(p)).sum(), t.sum()]
        if not hits[1] and not hits[3]:
            return {"edge_f1": 1.0}
        precision, recall = hits[0] / max(hits[1], 1), hits[2] / max(hits[3], 1)
        return {"edge_f1": float(2 * precision * recall / max(precision + recall, 1e-9))}


def widened(edges: np.ndarray) -> np.ndarray:
    """Which pixels of a bool array (H, W) are on, or touch one that is, corners included."""
    padded = np.pad(edges, 1)
    height, width = edges.shape
    shifts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(shifts)
