"""Errors of surface normals, over all pixels of all pictures (Fouhey et al. 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anymodal.evaluation.metrics import Metric

LIMITS = (11.25, 22.5, 30.0)
BINS = 18_000  # of 0.01 degrees


class NormalErrors(Metric):
    """Mean and median angle in degrees, and the shares below 11.25, 22.5 and 30 degrees.

    Pixels count whose true normal has a length above one half; where nothing is predicted the angle is 90 degrees. The
    median is exact to 0.01 degrees.
    """

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0
        self.within = np.zeros(len(LIMITS), np.int64)
        self.bins = np.zeros(BINS, np.int64)

    def update(self, prediction: Any, truth: Any) -> float | None:
        p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
        surface = np.isfinite(t).all(-1) & (np.linalg.norm(t, axis=-1) > 0.5)
        if not surface.any():
            return None
        p, t = np.where(np.isfinite(p), p, 0.0)[surface], t[surface]
        lengths = np.linalg.norm(p, axis=-1) * np.linalg.norm(t, axis=-1)
        angles = np.degrees(np.arccos(np.clip((p * t).sum(-1) / np.maximum(lengths, 1e-12), -1, 1)))
        self.total, self.count = self.total + float(angles.sum()), self.count + angles.size
        self.within += [int((angles < limit).sum()) for limit in LIMITS]
        self.bins += np.bincount(np.minimum((angles * 100).astype(np.int64), BINS - 1), minlength=BINS)
        return -float(angles.mean())

    def compute(self) -> dict[str, float]:
        if not self.count:
            return {}
        middle = int(np.searchsorted(np.cumsum(self.bins), (self.count + 1) // 2))
        shares = {f"within_{limit:g}": int(n) / self.count for limit, n in zip(LIMITS, self.within, strict=True)}
        return {"mean_angle": self.total / self.count, "median_angle": (middle + 0.5) / 100, **shares}

    def state(self) -> dict[str, Any]:
        filled = np.flatnonzero(self.bins)
        bins = [[int(k), int(self.bins[k])] for k in filled]
        return {"total": self.total, "count": self.count, "within": self.within.tolist(), "bins": bins}

    def merge(self, state: Mapping[str, Any]) -> None:
        self.total, self.count = self.total + float(state["total"]), self.count + int(state["count"])
        self.within += np.array(state["within"], np.int64)
        for place, number in state["bins"]:
            self.bins[place] += number
