"""Semantic segmentation by one table of counts over all pixels (Long et al. 2015, arXiv 1411.4038)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anymodal.evaluation.metrics import Metric

NONE = 255


class ClassOverlap(Metric):
    """Mean intersection over union and mean accuracy over the classes of the truth, and the share of right pixels.

    Pixels of the truth without a class (255) are left out; a prediction without one is wrong wherever there is one.
    """

    def __init__(self, classes: int, same: np.ndarray | None = None) -> None:
        """`same` (256,) is the class that each predicted one counts as."""
        self.classes, self.same = classes, np.arange(NONE + 1) if same is None else same
        self.table = np.zeros((classes, classes + 1), np.int64)  # of true by predicted classes, the last one none

    def update(self, prediction: Any, truth: Any) -> float | None:
        p, t = np.asarray(prediction, np.int64), np.asarray(truth, np.int64)
        known = t != NONE
        if not known.any():
            return None
        p, t = self.same[p][known], t[known]
        p = np.where(p == NONE, self.classes, p)
        table = np.bincount(t * (self.classes + 1) + p, minlength=self.table.size).reshape(self.table.shape)
        self.table += table
        return scores_of(table)["miou"]

    def compute(self) -> dict[str, float]:
        return scores_of(self.table) if self.table.any() else {}

    def state(self) -> dict[str, Any]:
        rows, columns = np.nonzero(self.table)
        return {"table": [[int(a), int(b), int(self.table[a, b])] for a, b in zip(rows, columns, strict=True)]}

    def merge(self, state: Mapping[str, Any]) -> None:
        for row, column, number in state["table"]:
            self.table[row, column] += number


def parts_of(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right pixels, true pixels and the union of both, by class."""
    hits, true = np.diag(table).astype(float), table.sum(1).astype(float)
    return hits, true, true + table[:, : len(table)].sum(0) - hits


def scores_of(table: np.ndarray) -> dict[str, float]:
    hits, true, union = parts_of(table)
    present = true > 0
    return {
        "miou": float((hits[present] / union[present]).mean()),
        "mean_accuracy": float((hits[present] / true[present]).mean()),
        "accuracy": float(hits.sum() / true.sum()),
    }
