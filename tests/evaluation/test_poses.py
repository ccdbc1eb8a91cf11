"""Errors of joints: what a similarity changes, and what it does not."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from anymodal.evaluation.scores.poses import PoseErrors, distance, procrustes


@attrs.frozen(eq=False)
class Someone:
    box: tuple[float, float, float, float]
    points: np.ndarray


def test_procrustes_is_the_best_similarity():
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((2, 8, 3))
    found = ((procrustes(source, target) - target) ** 2).sum()

    def loss(x: np.ndarray) -> float:
        moved = np.exp(x[6]) * Rotation.from_rotvec(x[:3]).apply(source) + x[3:6]
        return float(((moved - target) ** 2).sum())

    best = min(minimize(loss, [*start, 0, 0, 0, 0]).fun for start in rng.uniform(-3, 3, (6, 3)))
    assert found == pytest.approx(best, rel=1e-5)
    turned = 2 * Rotation.from_rotvec([0.3, 1, -2]).apply(source) + [1, 2, 3]
    assert np.allclose(procrustes(turned, source), source)
    mirrored = source * [-1, 1, 1]
    assert distance(procrustes(mirrored, source), source) > 10  # a mirror is no rotation


def test_people_are_matched_by_their_boxes():
    rng = np.random.default_rng(1)
    left, right = rng.standard_normal((2, 24, 3))
    metric = PoseErrors(lambda person: person.points)
    shifted = left + [5, 0, 0]
    shifted[1:] += [0, 0.02, 0]  # 20 mm in all joints but the pelvis
    true = [Someone((0, 0, 0.4, 1), left), Someone((0.6, 0, 1, 1), right)]
    own = metric.update([Someone((0.1, 0, 0.4, 1), shifted)], true)
    found = metric.compute()
    assert found["found"] == 0.5 and found["mpjpe"] == pytest.approx(20 * 23 / 24)
    assert 0 < found["pa_mpjpe"] < found["mpjpe"] and own == pytest.approx(-(20 * 23 / 24 + 1000) / 2)
    assert metric.update([], []) is None
