"""Edges of things, whatever they are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anymodal import EdgeModality, Labeler, ValueProblem, hookimpl

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class SamEdge(EdgeModality):
    """Edges of instances: uint8 arrays (H, W), 255 on an edge. Computed from sam_instance.

    The edge of an instance is made of its pixels that have a pixel of something else above, below, left or right. The
    border of the picture is no edge. Fragments and holes count, overlapping instances each have their own edge.
    """

    derived_from = ("sam_instance",)
    repository = "EPFL-VILAB/4M_tokenizers_edge_8k_224-512"

    def derive(self, values: dict[str, Any]) -> "np.ndarray":
        """Drawn at the size of the model; a map of instances (H, W), 0 for nothing, keeps its own."""
        return drawn(values["sam_instance"], self.size, self.size)


def drawn(instances: Any, height: int, width: int) -> "np.ndarray":
    """The edges of a list of instances in a picture of that size, or of a map of instances in its own."""
    if hasattr(instances, "dtype"):
        return edges(np.asarray(instances)) * np.uint8(255)
    found = np.zeros((height, width), bool)
    for instance in instances:
        found |= edges(instance.pixels(width, height))
    return found * np.uint8(255)


def edges(labels: "np.ndarray") -> "np.ndarray":
    """Which pixels of a map (H, W), other than those of label 0, have a neighbour with another label."""
    if labels.ndim != 2:
        raise ValueProblem(f"a map of instances has shape (H, W), got {labels.shape}")
    found = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found & (labels != 0)


class SamEdgeLabeler(Labeler):
    """The exact edges of instances, in a picture as large as the photograph."""

    modality, sources = "sam_edge", ("sam_instance", "rgb")

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        pairs = zip(self.values(samples, "sam_instance"), self.values(samples, "rgb"), strict=True)
        return [drawn(instances, *photograph.shape[:2]) for instances, photograph in pairs]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"sam_edge": SamEdgeLabeler}
