"""Edges of things, whatever they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal import DerivedLabeler, EdgeModality, Labeler, ValueProblem, hookimpl

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
        """From an integer map (H, W), 0 where nothing is, or from a list of instances with a bool `mask` (H, W)."""
        instances = values["sam_instance"]
        if isinstance(instances, np.ndarray):
            return edges(instances) * np.uint8(255)
        masks = [np.asarray(getattr(instance, "mask", instance)) > 0 for instance in instances]
        if not masks:
            return np.zeros((self.size, self.size), np.uint8)
        return np.logical_or.reduce([edges(mask) for mask in masks]) * np.uint8(255)


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


class SamEdgeLabeler(DerivedLabeler):
    """The exact edges of instances."""

    derives = SamEdge


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"sam_edge": SamEdgeLabeler}
