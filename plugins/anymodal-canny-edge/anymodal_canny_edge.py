"""Edges of the photograph."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal import DerivedLabeler, EdgeModality, Labeler, hookimpl

if TYPE_CHECKING:
    import numpy as np


class CannyEdge(EdgeModality):
    """Canny edges: uint8 arrays (H, W), 255 on an edge. Computed from rgb by OpenCV (thresholds 100 and 200)."""

    derived_from = ("rgb",)
    repository = "EPFL-VILAB/4M_tokenizers_edge_8k_224-512"
    denoising_steps = 10

    def derive(self, values: dict[str, Any]) -> "np.ndarray":
        import cv2

        return cv2.Canny(cv2.cvtColor(values["rgb"], cv2.COLOR_RGB2GRAY), 100, 200)


class CannyEdgeLabeler(DerivedLabeler):
    """Canny's edge detector (OpenCV, thresholds 100 and 200)."""

    derives = CannyEdge


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"canny_edge": CannyEdgeLabeler}
