"""Errors of depth. How a prediction was aligned is part of a score's name, since it decides most of it.

metric: as predicted, in meters. scale: times the ratio of the medians (Zhou et al. 2017, arXiv 1704.07813).
scale_shift: the affine function of the depth with the least squared error. scale_shift_disparity: the affine function
of one over the depth with the least squared error there, no deeper than the deepest true depth of the picture (Ranftl
et al. 2020, arXiv 1907.01341).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anymodal.evaluation.metrics import Means, Metric

NEAREST = 1e-6


def standardized(depth: np.ndarray) -> np.ndarray:
    """Depths (n,) freed of scale and shift by the mean and variance of their 10..90 % values (4M, arXiv 2312.06647)."""
    ordered = np.sort(depth)
    middle = ordered[int(0.1 * ordered.size) : max(int(0.9 * ordered.size), int(0.1 * ordered.size) + 1)]
    return (depth - middle.mean()) / np.sqrt(middle.var() + 1e-6)


def affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The affine function of a source (n,) that is nearest to the target (n,) in squares."""
    spread = source - source.mean()
    power = float(spread @ spread)
    scale = float(spread @ (target - target.mean())) / power if power > 0 else 0.0
    return scale * spread + target.mean()


def aligned(p: np.ndarray, t: np.ndarray, alignment: str) -> np.ndarray | None:
    """Predicted depths (n,) aligned with true ones (n,); None where the alignment has no meaning."""
    if alignment == "metric":
        return p
    if alignment == "scale":
        middle = np.median(p)
        return p * (np.median(t) / middle) if middle > 0 else None
    if alignment == "scale_shift":
        return affine(p, t)
    if (p <= 0).any():
        return None
    return 1 / np.maximum(affine(1 / p, 1 / t), 1 / t.max())


ALIGNMENTS = ("metric", "scale", "scale_shift", "scale_shift_disparity")
FREE = ("scale_shift",)  # what depth without a scale can be aligned by


class DepthErrors(Metric):
    """abs_rel, rmse and delta1 (Eigen et al. 2014, arXiv 1406.2283) by alignment, and `std_l1` as 4M-21 reports it.

    Pixels count whose true depth is finite and above 0, each picture as much as another; a prediction that is not
    finite counts as 0. `std_l1` is the mean absolute difference of both depths after each was standardized.
    """

    def __init__(self, alignments: Sequence[str] = ALIGNMENTS) -> None:
        self.alignments, self.means = tuple(alignments), Means()

    def update(self, prediction: Any, truth: Any) -> float | None:
        p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
        valid = np.isfinite(t) & (t > 0)
        if not valid.any():
            return None
        p, t = np.where(np.isfinite(p), p, 0.0)[valid], t[valid]
        for alignment in self.alignments:
            found = aligned(p, t, alignment)
            self.means.add(f"lacking_{alignment}", float(found is None))
            if found is None:
                continue
            self.means.add(f"abs_rel_{alignment}", float((np.abs(found - t) / t).mean()))
            self.means.add(f"rmse_{alignment}", float(((found - t) ** 2).mean()))
            ratio = np.maximum(found, NEAREST) / t
            self.means.add(f"delta1_{alignment}", float((np.maximum(ratio, 1 / ratio) < 1.25).mean()))
        error = float(np.abs(standardized(p) - standardized(t)).mean())
        self.means.add("std_l1", error)
        return -error

    def compute(self) -> dict[str, float]:
        """The scores; an alignment that had no meaning for one of the pictures is left out for all."""
        lacking = tuple(name.removeprefix("lacking") for name in self.means if name.startswith("lacking_"))
        lacking = tuple(ending for ending in lacking if self.means[f"lacking{ending}"] > 0)
        scores = {}
        for name in self.means:
            kind, _, alignment = name.partition("_rel_" if name.startswith("abs_rel") else "_")
            if kind != "lacking" and f"_{alignment}" not in lacking:
                scores[name] = float(np.sqrt(self.means[name])) if kind == "rmse" else self.means[name]
        return scores

    def state(self) -> dict[str, Any]:
        return self.means.state()

    def merge(self, state: Mapping[str, Any]) -> None:
        self.means.merge(state)
