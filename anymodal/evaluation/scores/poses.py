"""Errors of people's joints (Ionescu et al. 2014; von Marcard et al. 2018 for 3DPW)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anymodal.evaluation.metrics import Averages
from anymodal.families.boxes import box_iou, match


class PoseErrors(Averages):
    """`mpjpe` and `pa_mpjpe` in millimeters over the people that were found, and the share that was, `found`.

    People are matched by their boxes, the largest overlaps first. `mpjpe` is the mean distance of the joints with
    pelvis on pelvis, `pa_mpjpe` after the rotation, scale and shift with the least squared error.
    """

    def __init__(self, joints: Callable[[Any], np.ndarray]) -> None:
        """`joints` gives those of a person, (n, 3) in meters, the pelvis first."""
        super().__init__()
        self.joints = joints

    def update(self, prediction: Any, truth: Any) -> float | None:
        """Lists of people with a `box`; the own score is minus the mean error, with a meter for each not found."""
        if not truth:
            return None
        pairs = match(box_iou([p.box for p in prediction], [t.box for t in truth]))
        self.means.add("found", float(len(pairs)), len(truth))
        errors = []
        for row, column in pairs:
            made, true = (self.joints(each) for each in (prediction[row], truth[column]))
            errors.append(distance(made - made[:1], true - true[:1]))
            self.means.add("mpjpe", errors[-1])
            self.means.add("pa_mpjpe", distance(procrustes(made, true), true))
        return -(sum(errors) + 1000 * (len(truth) - len(pairs))) / len(truth)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The mean distance in millimeters of points (n, 3) in meters."""
    return 1000 * float(np.linalg.norm(a - b, axis=1).mean())


def procrustes(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (n, 3) turned, scaled and shifted so that they are nearest in squares to others (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, spread, v = np.linalg.svd(a.T @ b)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    power = float((a * a).sum())
    scale = float((spread * signs).sum()) / power if power > 0 else 0.0
    return scale * a @ (u * signs) @ v + target.mean(0)
