"""How the surfaces of a scene lie, in two numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal import DerivedLabeler, Labeler, Number, NumbersModality, hookimpl

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

JUMP = 0.1


class MetadataGeometric(NumbersModality):
    """Numbers of the geometry, computed from normal and depth (codes and bins as in 4M-21, arXiv 2406.09406).

    `geometric_complexity`: the spherical variance of the normals, one less the length of their mean (Mardia and Jupp
    2000), 0 for a plane. `occlusion_score`: the share of pixels at a jump of depth, where the second difference of
    inverse depth across or down exceeds a tenth of it; it vanishes on planes, however slanted.
    """

    fields = {"geometric_complexity": Number(17, 0, 0.75, 50), "occlusion_score": Number(18, 0, 0.25, 50)}
    folders = ("metadata",)
    derived_from = ("normal", "depth")

    def derive(self, values: dict[str, Any]) -> dict[str, float]:
        return {
            "geometric_complexity": spherical_variance(values["normal"]),
            "occlusion_score": occlusion(values["depth"]),
        }


def spherical_variance(normal: "np.ndarray") -> float:
    """1 - |mean| of the unit normals (H, W, 3), over the pixels that have one; 0 without any."""
    vectors = np.asarray(normal, np.float64).reshape(-1, 3)
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = vectors[lengths > 0.5] / lengths[lengths > 0.5, None]
    return max(1 - float(np.linalg.norm(vectors.mean(0))), 0.0) if len(vectors) else 0.0


def occlusion(depth: "np.ndarray") -> float:
    """The share of pixels (H, W) beside a jump of depth; depths that are not positive count as infinitely far."""
    depth = np.asarray(depth, np.float64)
    near = 1 / np.where(np.isfinite(depth) & (depth > 0), depth, np.inf)
    jumps = np.zeros(near.shape, bool)
    for across, marks in ((near, jumps), (near.T, jumps.T)):
        bend = np.abs(across[:, 2:] - 2 * across[:, 1:-1] + across[:, :-2])
        marks[:, 1:-1] |= bend > JUMP * across[:, 1:-1].clip(1e-6)
    return float(jumps.mean())


class MetadataGeometricLabeler(DerivedLabeler):
    """The exact numbers."""

    derives = MetadataGeometric


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"metadata_geometric": MetadataGeometricLabeler}
