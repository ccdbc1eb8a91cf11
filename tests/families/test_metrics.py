"""Scores are the numbers of the standard tools, or of a computation that shares nothing with ours."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from anymodal_color_palette import ciede2000, to_lab
from anymodal_det import Box, from_coco
from anymodal_sam_instance import Instance, flat
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am


def modality(name: str, **options):
    return am.registry().modality(name)(**options)


# Boxes, by pycocotools.


def coco_ap(predictions: list[list[Box]], truths: list[list[Box]]) -> list[float]:
    """AP, AP50 and AP75 of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(number: int, image: int, box: Box) -> dict:
        x0, y0, x1, y1 = (1000 * v for v in box.corners)
        place = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": int(box.crowd)}
        about = {"id": number, "image_id": image, "category_id": ord(box.class_name), "score": box.score}
        return place | about

    def numbered(values: list[list[Box]]) -> list[dict]:
        pairs = [(image, box) for image, value in enumerate(values) for box in value]
        return [annotation(k, image, box) for k, (image, box) in enumerate(pairs, 1)]  # 0 would be "no match"

    names = [{"id": ord(c), "name": c} for c in "abc"]
    truth = COCO()
    truth.dataset = {"images": [{"id": k} for k in range(len(truths))], "categories": names, "info": {}}
    truth.dataset["annotations"] = numbered(truths)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = COCO()
        found.dataset = {**truth.dataset, "annotations": numbered(predictions)}
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # threshold, recall, class
    there = precision[..., (precision > -1).any((0, 1))]
    parts = (there, there[0], there[5])
    return [float(part.mean()) if part.size else 0.0 for part in parts]


def some_boxes(rng: np.random.Generator, count: int, near: list[Box], crowds: bool) -> list[Box]:
    """Boxes; some of them nearly those of `near`."""
    boxes = []
    for _ in range(count):
        low = rng.random(2) * 0.6
        corners = [*low, *(low + 0.05 + rng.random(2) * 0.3)]
        name = "abc"[rng.integers(3)]
        if near and rng.random() < 0.7:
            other = near[rng.integers(len(near))]
            corners = np.clip(np.array(other.corners) + rng.normal(0, 0.02, 4), 0, 1)
            corners, name = [*corners[:2], *np.maximum(corners[2:], corners[:2] + 0.01)], other.class_name
        score = round(rng.random(), 1)  # many are equal
        boxes.append(Box(*map(float, corners), name, score, crowds and rng.random() < 0.3))
    return boxes


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 5))
def test_average_precision_is_that_of_pycocotools(seed, crowds, images):
    rng = np.random.default_rng(seed)
    truths = [some_boxes(rng, rng.integers(0, 6), [], crowds) for _ in range(images)]
    predictions = [some_boxes(rng, rng.integers(0, 9), truth, False) for truth in truths]
    scores = modality("det").score(predictions, truths)
    assert list(scores.values()) == pytest.approx(coco_ap(predictions, truths), abs=1e-9)


def test_more_than_a_hundred_boxes_of_a_class_are_not_counted():
    (truth,) = [[Box(0.1, 0.1, 0.5, 0.5, "a")]]
    wrong = [Box(0.6, 0.6, 0.9, 0.9, "a", 0.9)] * 100
    predictions = [[*wrong, Box(0.1, 0.1, 0.5, 0.5, "a", 0.1)]]
    assert list(modality("det").score(predictions, [truth]).values()) == coco_ap(predictions, [truth]) == [0, 0, 0]


def test_crowds_of_coco_files_are_known_to_scores_alone(tmp_path):
    det = modality("det")
    annotation = {"category_id": 1, "image_id": 1, "bbox": [10, 10, 50, 50]}
    file = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [annotation, annotation | {"iscrowd": 1, "bbox": [0, 0, 100, 100]}],
    }
    assert len(det.accept(file)) == 1
    truth = det.accept({"instances": from_coco(file, crowds=True)})
    assert [box.crowd for box in truth] == [False, True] and det.spell(truth) == det.spell(truth[:1])
    det.write(truth, tmp_path / "a.json")
    assert det.read(tmp_path / "a.json") == truth
    said = [Box(0.1, 0.1, 0.6, 0.6, "a", 0.5), Box(0.7, 0.7, 0.8, 0.8, "a", 0.9)]
    assert det.score([said], [truth])["ap"] == 1 > det.score([said], [truth[:1]])["ap"]


# Classes, by sets of pixels.


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4))
def test_mean_iou_is_over_the_classes_of_the_truth(seed, classes, maps):
    """A class that is predicted alone is no class of the mean, but takes pixels from others; none is no class."""
    rng = np.random.default_rng(seed)
    shape = (maps, 4, 5)
    truth = rng.choice([*range(classes), 255], shape).astype(np.uint8)
    said = rng.choice([*range(classes + 3), 255], shape).astype(np.uint8)
    pixels = {place: (int(t), int(said[place])) for place, t in np.ndenumerate(truth) if t != 255}
    ious = []
    for label in {t for t, _ in pixels.values()}:
        true = {place for place, (t, _) in pixels.items() if t == label}
        found = {place for place, (_, p) in pixels.items() if p == label}
        ious.append(len(true & found) / len(true | found))
    right = sum(t == p for t, p in pixels.values())
    expected = {"miou": np.mean(ious), "accuracy": right / len(pixels)} if pixels else {"miou": 1, "accuracy": 1}
    assert modality("semseg").score(list(said), list(truth)) == pytest.approx(expected)


# Instances, as panopticapi counts them.


def square(x: float, y: float, side: float) -> Instance:
    return Instance((np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]]),))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(0, 4))
def test_panoptic_quality_counts_what_has_no_match(seed, true, said):
    rng = np.random.default_rng(seed)
    cells = [(x, y) for x in (0.0, 0.5) for y in (0.0, 0.5)]  # so that no two of one side overlap
    truths, found = (
        [square(*cells[k], float(rng.uniform(0.2, 0.45))) for k in rng.permutation(4)[:count]] for count in (true, said)
    )
    hits = 0.0
    pairs = 0
    for a in flat(found).astype(bool):
        for b in flat(truths).astype(bool):
            iou = (a & b).sum() / (a | b).sum()
            if iou > 0.5:
                hits, pairs = hits + iou, pairs + 1
    bad = (true - pairs) + (said - pairs)
    expected = hits / (pairs + bad / 2) if true + said else 1
    assert modality("sam_instance").score([found], [truths])["pq"] == pytest.approx(expected)


# Normals, by rotations.


@settings(max_examples=40)
@given(st.lists(st.floats(0, 180), min_size=1, max_size=9), st.integers(0, 99))
def test_angles_between_normals(degrees, seed):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((len(degrees), 3))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    axis = np.cross(truth, rng.standard_normal(truth.shape))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turn = np.radians(degrees)[:, None]
    said = np.cos(turn) * truth + np.sin(turn) * np.cross(axis, truth)  # Rodrigues, the axis at a right angle
    surface = np.concatenate([truth, np.zeros((1, 3))])[None]  # the last is no surface
    scores = modality("normal").score([np.concatenate([said * 3, [[1, 0, 0]]])[None]], [surface])
    assert scores["mean_angle"] == pytest.approx(np.mean(degrees), abs=1e-4)
    assert scores["median_angle"] == pytest.approx(np.median(degrees), abs=1e-4)
    for limit in (11.25, 22.5, 30):
        if min(abs(d - limit) for d in degrees) > 1e-3:
            assert scores[f"within_{limit:g}"] == pytest.approx(np.mean([d < limit for d in degrees]))


# Depth.


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_alignments_of_depth(seed, scale, shift):
    rng, depth = np.random.default_rng(seed), modality("depth")
    truth = rng.uniform(1, 10, (4, 5))
    truth[0, 0], noisy = 0, truth + rng.normal(0, 0.3, truth.shape)
    known = truth > 0
    plain = depth.score([noisy], [truth])
    t, p = truth[known], noisy[known]
    assert plain["abs_rel"] == pytest.approx(np.mean(np.abs(t - p) / t))
    assert plain["rmse"] == pytest.approx(np.sqrt(np.mean((t - p) ** 2)))
    assert plain["delta1"] == pytest.approx(np.mean([max(a / b, b / a) < 1.25 for a, b in zip(t, p, strict=True)]))
    scaled, moved = depth.score([noisy * scale], [truth]), depth.score([noisy * scale + shift], [truth])
    for key in plain:
        if key.endswith("_median"):
            assert scaled[key] == pytest.approx(plain[key])
        if key.endswith("_affine"):
            assert moved[key] == pytest.approx(plain[key], abs=1e-6)
    factor, offset = np.linalg.lstsq(np.stack([p, np.ones_like(p)], 1), t, rcond=None)[0]
    assert plain["rmse_affine"] == pytest.approx(np.sqrt(np.mean((factor * p + offset - t) ** 2)))
    assert plain["abs_rel_median"] == pytest.approx(np.mean(np.abs(p * np.median(t) / np.median(p) - t) / t))
    assert depth.score([truth], [truth]) == pytest.approx(depth.score([truth], [np.zeros((4, 5))]))


def test_predictions_that_are_not_finite_are_wrong():
    scores = modality("depth").score([np.full((2, 2), np.nan)], [np.ones((2, 2))])
    assert scores["abs_rel"] == 1 and scores["delta1"] == 0 and all(map(np.isfinite, scores.values()))


# Colors, by colour-science.


def colour_science() -> Any:
    """The library, without the mocks that it leaves in place of a matplotlib that is not installed."""
    import colour

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        if isinstance(sys.modules[name], Mock):
            del sys.modules[name]
    return colour


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 6), min_size=1, max_size=20))
@settings(max_examples=30)
def test_color_differences_are_those_of_colour_science(pairs):
    colour = colour_science()
    colors = np.array(pairs, np.uint8)
    first, second = to_lab(colors[:, :3]), to_lab(colors[:, 3:])
    assert np.allclose(ciede2000(first, second), colour.difference.delta_E_CIE2000(first, second), atol=1e-8)
    white = colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"]
    theirs = colour.XYZ_to_Lab(colour.sRGB_to_XYZ(colors[:, :3] / 255), white)
    assert np.abs(first - theirs).max() < 0.05  # the standard rounds its matrix to four digits


SHARMA = [  # pairs of Sharma, Wu and Dalal 2005, table 1: where others go wrong
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("a", "b", "expected"), SHARMA)
def test_color_differences_of_the_paper(a, b, expected):
    assert ciede2000(np.array(a, float), np.array(b, float)) == pytest.approx(expected, abs=5e-5)
    assert ciede2000(np.array(b, float), np.array(a, float)) == pytest.approx(expected, abs=5e-5)


def test_palettes_are_judged_by_the_nearest_color():
    palette = modality("color_palette")
    gap = float(ciede2000(*(to_lab(np.array([c])) for c in ([10, 20, 30], [12, 20, 30])))[0])
    truth, said = np.uint8([[10, 20, 30], [200, 0, 0]]), np.uint8([[200, 0, 0], [12, 20, 30]])
    assert palette.score([said], [truth])["delta_e"] == pytest.approx(gap / 2)


# Words.


@given(*[st.lists(st.sampled_from(["a", "dog", "cat", "on", "the"]), max_size=6)] * 2)
def test_word_f1_counts_each_word_as_often_as_it_occurs(said, meant):
    common = sum(min(said.count(word), meant.count(word)) for word in Counter(said))
    precision, recall = common / max(len(said), 1), common / max(len(meant), 1)
    expected = 2 * precision * recall / (precision + recall) if common else float(not said and not meant)
    score = modality("caption").score([" ".join(said).upper() + "."], [" ".join(meant) + "."])["word_f1"]
    both, dot = len(said) + len(meant), 2  # the full stop is a word of its own
    assert score == pytest.approx((expected * both + dot) / (both + dot) if both else 1)
