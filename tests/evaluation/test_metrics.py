"""Metrics that accumulate: equal to independent computations over everything at once, from any state."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from anymodal_caption import Caption
from anymodal_semseg import Semseg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from anymodal.evaluation.metrics import SampleMean
from anymodal.evaluation.scores.classes import ClassOverlap
from anymodal.evaluation.scores.depth import FREE, DepthErrors, aligned
from anymodal.evaluation.scores.normals import NormalErrors
from anymodal.evaluation.scores.texts import CaptionOverlap

RNG = np.random.default_rng(0)
TRUE_DEPTH = [RNG.uniform(1, 20, (6, 7)) for _ in range(4)]
MADE_DEPTH = [0.4 * t + 1 + RNG.uniform(0, 0.5, t.shape) for t in TRUE_DEPTH]
TRUE_DEPTH[1][:2] = 0  # not measured
TRUE_DEPTH[2][0, 0] = np.nan


def errors(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """The three errors, pixel by pixel."""
    pairs = list(zip(p.ravel().tolist(), t.ravel().tolist(), strict=True))
    return {
        "abs_rel": sum(abs(a - b) / b for a, b in pairs) / len(pairs),
        "rmse": sum((a - b) ** 2 for a, b in pairs) / len(pairs),
        "delta1": sum(a > 0 and max(a / b, b / a) < 1.25 for a, b in pairs) / len(pairs),
    }


def by_scipy(p: np.ndarray, t: np.ndarray, alignment: str) -> np.ndarray:
    """The alignments by general means."""
    if alignment == "metric":
        return p
    if alignment == "scale":
        return p * np.median(t) / np.median(p)
    if alignment == "scale_shift":
        scale, shift = least_squares(lambda x: x[0] * p + x[1] - t, [1, 0]).x
        return scale * p + shift
    scale, shift = least_squares(lambda x: x[0] / p + x[1] - 1 / t, [1, 0], xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    return 1 / np.maximum(scale / p + shift, 1 / t.max())


@pytest.mark.parametrize("alignment", ["metric", "scale", "scale_shift", "scale_shift_disparity"])
def test_depth_is_scored_as_by_a_general_fit(alignment):
    metric, expected = DepthErrors(), []
    for p, t in zip(MADE_DEPTH, TRUE_DEPTH, strict=True):
        metric.update(p, t)
        valid = np.isfinite(t) & (t > 0)
        expected.append(errors(by_scipy(p[valid], t[valid], alignment), t[valid]))
    means = {name: np.mean([each[name] for each in expected]) for name in expected[0]}
    found = metric.compute()
    assert found[f"abs_rel_{alignment}"] == pytest.approx(means["abs_rel"], rel=1e-5)
    assert found[f"rmse_{alignment}"] == pytest.approx(math.sqrt(means["rmse"]), rel=1e-5)
    assert found[f"delta1_{alignment}"] == pytest.approx(means["delta1"], abs=1e-9)


def test_standardized_depth_forgets_scale_and_shift():
    t = np.arange(1.0, 101).reshape(10, 10)
    middle = np.arange(11.0, 91)  # its 10 to 90 % values
    metric = DepthErrors(FREE)
    metric.update(3 * t + 7, t)
    assert metric.compute()["std_l1"] == pytest.approx(0, abs=1e-6)
    metric = DepthErrors(FREE)
    metric.update(t[::-1], t)
    assert metric.compute()["std_l1"] == pytest.approx(np.abs(t[::-1] - t).mean() / middle.std(), rel=1e-6)


def test_depth_that_has_no_disparity_has_no_score_by_it():
    metric = DepthErrors()
    metric.update(MADE_DEPTH[0], TRUE_DEPTH[0])
    assert "abs_rel_scale_shift_disparity" in metric.compute()
    metric.update(MADE_DEPTH[3] - 5, TRUE_DEPTH[3])
    scores = metric.compute()
    assert not [name for name in scores if name.endswith("disparity")] and "abs_rel_scale_shift" in scores


def test_predictions_that_are_not_finite_count_as_zero():
    t = np.ones((2, 2))
    metric = DepthErrors(("metric",))
    metric.update(np.array([[np.nan, np.inf], [1, 1]]), t)
    assert metric.compute()["abs_rel_metric"] == 0.5
    assert aligned(np.zeros(3), np.ones(3), "scale") is None


def test_truths_that_say_nothing_have_no_score():
    nothing = np.zeros((3, 3, 3))
    assert DepthErrors().update(np.ones((3, 3)), nothing[..., 0]) is None and DepthErrors().compute() == {}
    assert NormalErrors().update(nothing + 1, nothing) is None and NormalErrors().compute() == {}
    assert ClassOverlap(3).update(nothing[..., 0], nothing[..., 0] + 255) is None and ClassOverlap(3).compute() == {}
    assert CaptionOverlap().update("a car", "") is None and CaptionOverlap().compute() == {}


def test_angles_are_those_between_the_vectors():
    metric, angles = NormalErrors(), []
    for seed in range(3):
        p, t = np.random.default_rng(seed).standard_normal((2, 8, 9, 3))
        t[0] = 0
        p[2, 2] = 0
        metric.update(p, t)
        for a, b in zip(p[1:].reshape(-1, 3), t[1:].reshape(-1, 3), strict=True):
            surface = np.linalg.norm(b) > 0.5
            angle = 90.0 if not a.any() else math.degrees(math.atan2(np.linalg.norm(np.cross(a, b)), a @ b))
            angles += [angle] if surface else []
    found = metric.compute()
    assert found["mean_angle"] == pytest.approx(np.mean(angles))
    assert found["median_angle"] == pytest.approx(np.sort(angles)[(len(angles) - 1) // 2], abs=0.011)
    for limit in (11.25, 22.5, 30):
        assert found[f"within_{limit:g}"] == pytest.approx(np.mean(np.array(angles) < limit))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 5), pictures=st.integers(1, 4))
def test_overlap_is_that_of_sets_of_pixels(seed, classes, pictures):
    rng = np.random.default_rng(seed)
    ids = np.array([*range(classes), 255])
    p, t = (rng.choice(ids, (pictures, 5, 5)) for _ in range(2))
    metric = ClassOverlap(classes)
    for one, other in zip(p, t, strict=True):
        metric.update(one.astype(np.uint8), other.astype(np.uint8))
    known = t != 255
    if not known.any():
        assert metric.compute() == {}
        return
    present = [c for c in range(classes) if (t == c).any()]
    overlaps = [((p == c) & (t == c)).sum() / (known & ((p == c) | (t == c))).sum() for c in present]
    assert metric.compute()["miou"] == pytest.approx(np.mean(overlaps))
    assert metric.compute()["accuracy"] == pytest.approx((p == t)[known].mean())
    assert metric.compute()["miou"] == pytest.approx(Semseg().score(list(p), list(t))["miou"])


def test_captions_score_as_pycocoevalcap_scores_them():
    """Numbers of pycocoevalcap 1.2 of the same words; its BLEU has a small constant in each count."""
    true = [
        ["a red car on a road", "there is a red car on the road"],
        ["a blue cup on a table", "on a wooden table a blue cup"],
        ["two people stand on the grass in the sun"],
        ["a bed in a room with a red carpet", "a room with a bed", "a bed on a red carpet"],
    ]
    said = ["a red car on the road", "a blue cup on top of a blue table", "a person on the grass", "a dog"]
    metric = CaptionOverlap()
    for one, several in zip(said, true, strict=True):
        metric.update(one, several)
    found = metric.compute()
    assert found["cider"] == pytest.approx(2.914153961222985, rel=1e-12)
    bleus = (0.5794207053243884, 0.5064179687951162, 0.4674785004892418, 0.4147746785511295)
    assert [found[f"bleu{n}"] for n in range(1, 5)] == pytest.approx(bleus, rel=1e-8)


def test_bleu_is_that_of_the_paper():
    metric = CaptionOverlap()
    metric.update("the the the the the the the", ["The cat is on the mat.", "There is a cat on the mat."])
    assert (metric.right[0], metric.said[0]) == (2, 7)  # Papineni et al. 2002, example 2
    assert metric.compute()["bleu4"] == 0
    metric = CaptionOverlap()
    metric.update("a b c d e f", ["a b c d e x y z"])
    metric.update("p q r s t", ["p q r s t", "p q"])
    rights, saids = [5 + 5, 4 + 4, 3 + 3, 2 + 2], [6 + 5, 5 + 4, 4 + 3, 3 + 2]
    expected = math.prod(a / b for a, b in zip(rights, saids, strict=True)) ** 0.25 * math.exp(1 - (8 + 5) / (6 + 5))
    assert metric.compute()["bleu4"] == pytest.approx(expected)


def test_words_are_shared_as_the_modality_counts_them():
    said = ["a red car on a road", "two dogs", "sky"]
    true = ["a blue car on the road", "two cats and a dog", "sky"]
    metric = CaptionOverlap()
    for pair in zip(said, true, strict=True):
        metric.update(*pair)
    assert metric.compute()["word_f1"] == pytest.approx(Caption(length=24).score(said, true)["word_f1"])


CASES = {
    "depth": (DepthErrors, MADE_DEPTH, TRUE_DEPTH),
    "normals": (NormalErrors, [RNG.standard_normal((4, 4, 3)) for _ in range(4)], [np.ones((4, 4, 3))] * 4),
    "classes": (lambda: ClassOverlap(3), list(RNG.integers(0, 3, (4, 5, 5))), list(RNG.integers(0, 3, (4, 5, 5)))),
    "texts": (CaptionOverlap, ["a b c d e", "a b", "x", "c d e f"], ["a b c d", ["a", "a b"], "y", "c d e f g"]),
    "mean": (lambda: SampleMean(Caption(length=24)), ["a b", "b"], ["a", "b c"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_state_goes_through_json_and_on(name):
    make, made, true = CASES[name]
    whole, first, second = make(), make(), make()
    for pair in zip(made, true, strict=True):
        whole.update(*pair)
    for pair in list(zip(made, true, strict=True))[:2]:
        first.update(*pair)
    second.merge(json.loads(json.dumps(first.state())))
    for pair in list(zip(made, true, strict=True))[2:]:
        second.update(*pair)
    assert second.compute() == whole.compute() and whole.compute()
