from __future__ import annotations

import numpy as np
import pytest
from anymodal_metadata_geometric import MetadataGeometric, occlusion, spherical_variance

from anymodal.testing import conformance

test_conformance = conformance("metadata_geometric")


def test_planes_are_simple_and_hide_nothing():
    y, x = np.mgrid[0:40, 0:40]
    plane = 1 / (0.02 + 0.003 * x + 0.004 * y)
    normal = np.broadcast_to([0.6, 0.8, 0.0], (40, 40, 3))
    found = MetadataGeometric().derive({"depth": plane.astype(np.float32), "normal": normal})
    assert found == pytest.approx({"geometric_complexity": 0, "occlusion_score": 0}, abs=1e-6)


def test_a_step_is_seen_on_both_sides():
    depth = np.full((10, 10), 5.0)
    depth[:, 5:] = 10.0
    assert occlusion(depth) == pytest.approx(0.2)
    depth[:] = 0
    assert occlusion(depth) == 0


def test_opposite_normals_cancel_and_missing_ones_do_not_count():
    normal = np.zeros((2, 2, 3))
    normal[0, 0], normal[0, 1] = (0, 0, 1), (0, 0, -1)
    assert spherical_variance(normal) == pytest.approx(1)
    normal[0, 1] = 0
    assert spherical_variance(normal) == pytest.approx(0)
    assert spherical_variance(np.zeros((2, 2, 3))) == 0
