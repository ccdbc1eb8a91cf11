"""Edges of the photograph."""

from typing import TYPE_CHECKING, Any

from anymodal import ImageModality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class CannyEdge(ImageModality):
    """Canny edges: uint8 arrays (H, W), 255 on an edge. Computed from rgb by OpenCV (thresholds 100 and 200)."""

    channels, low, high, dtype = 1, 0.0, 255.0, "uint8"
    derived_from = ("rgb",)
    repository = "EPFL-VILAB/4M_tokenizers_edge_8k_224-512"

    def derive(self, values: dict[str, Any]) -> "np.ndarray":
        import cv2

        return cv2.Canny(cv2.cvtColor(values["rgb"], cv2.COLOR_RGB2GRAY), 100, 200)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """F1 of edge pixels, matched within one pixel; an edge is what is above 127."""
        import cv2

        hits = np.zeros(4)
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = (np.asarray(x) > 127 for x in (prediction, truth))
            near_p, near_t = (cv2.dilate(x.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for x in (p, t))
            hits += [(p & near_t).sum(), p.sum(), (t & near_p).sum(), t.sum()]
        precision, recall = hits[0] / max(hits[1], 1), hits[2] / max(hits[3], 1)
        return {"edge_f1": float(2 * precision * recall / max(precision + recall, 1e-9))}
