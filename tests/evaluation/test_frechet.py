"""The distance of two clouds of features: as by a general root of a matrix, and in pieces."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
from scipy.linalg import sqrtm

from anymodal.errors import ConfigError, ValueProblem
from anymodal.evaluation import TASKS
from anymodal.evaluation.extractors import EXTRACTORS, FeatureExtractor
from anymodal.evaluation.scores.frechet import Judged, Moments, PictureQuality, frechet_distance


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(sum(covariances)) - 2 * np.trace(sqrtm(covariances[0] @ covariances[1])).real)


def of(values: np.ndarray) -> Moments:
    moments = Moments()
    moments.add(values)
    return moments


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_distance_is_that_by_a_general_root(offset):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 5)) + offset
    b = rng.standard_normal((80, 5)) @ rng.standard_normal((5, 5)) + offset + 1
    assert frechet_distance(of(a), of(b)) == pytest.approx(by_scipy(a - offset, b - offset), rel=1e-6)
    assert frechet_distance(of(a), of(a)) == pytest.approx(0, abs=1e-6)


def test_covariances_without_full_rank_have_a_distance():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 4, 20))  # fewer pictures than channels
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum(np.trace(np.cov(x, rowvar=False)) for x in (a, b))
    products = [x - x.mean(0) for x in (a, b)]
    expected -= 2 * np.linalg.svd(products[0] @ products[1].T, compute_uv=False).sum() / 3
    assert frechet_distance(of(a), of(b)) == pytest.approx(expected, rel=1e-9)


def test_features_in_half_precision_have_a_distance():
    made, true = np.zeros((2, 2, 4, 4, 3), np.uint8)
    features = {0: np.full((2, 1024), 10, np.float16), 1: np.zeros((2, 1024), np.float16)}
    calls = iter((0, 1))
    own = PictureQuality(lambda pictures: features[next(calls)]).update_all(list(made), list(true))
    assert own == [-320.0, -320.0]  # of which the square is no number of 16 bits


def test_pictures_in_pieces_are_those_at_once():
    rng = np.random.default_rng(2)
    made, true = rng.integers(0, 256, (2, 10, 4, 4, 3), np.uint8)

    def features(pictures: list[np.ndarray]) -> np.ndarray:
        return np.stack([p.reshape(-1, 3).mean(0) for p in pictures])

    whole, parts = PictureQuality(features), [PictureQuality(features) for _ in range(2)]
    whole.update_all([Judged(p, 0.25) for p in made], list(true))
    for part, rows in zip(parts, (slice(0, 3), slice(3, 10)), strict=True):
        part.update_all([Judged(p, 0.25) for p in made[rows]], list(true[rows]))
    parts[0].merge(json.loads(json.dumps(parts[1].state())))
    found = parts[0].compute()
    assert found == pytest.approx(whole.compute()) and found["agreement"] == 0.25
    assert found["fid"] == pytest.approx(by_scipy(features(list(made)), features(list(true))))
    with pytest.raises(ValueProblem, match="finite features"):
        PictureQuality(lambda pictures: np.full((len(pictures), 2), np.nan)).update_all(list(made), list(true))


def test_an_extractor_of_ones_own_is_one_more_entry():
    @EXTRACTORS.add
    @attrs.frozen
    class Colors(FeatureExtractor):
        name: str = attrs.field(init=False, default="colors")

        def build(self):
            return lambda pictures: np.stack([p.reshape(-1, 3).mean(0) for p in pictures])

    try:
        metric = TASKS({"name": "generation", "extractor": "colors"}).metric(None)
        pictures = list(np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8))
        metric.update_all(pictures, pictures)
        assert metric.compute()["fid"] == pytest.approx(0, abs=1e-6)
    finally:
        EXTRACTORS.remove("colors")
    with pytest.raises(ConfigError, match="feature extractor"):
        TASKS({"name": "generation", "extractor": "colours"})
