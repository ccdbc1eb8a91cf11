"""Boxes in space: their overlap by other ways, and the average precision of lists whose score is known."""

import json

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import anymodal as am
from anymodal.transfer.tuning.boxes3d import Boxes3d, SolidBoxes, SolidScene, SolidSolver
from anymodal.transfer.tuning.samples import open_source
from anymodal.transfer.tuning.solids import Solid, average_precision, overlap, shared_volume


def turned(seed: int) -> np.ndarray:
    """A random rotation (3, 3)."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def drawn(seed: int, spread: float = 0.6) -> Solid:
    rng = np.random.default_rng(seed)
    return Solid(rng.normal(size=3) * spread, rng.uniform(0.3, 2, 3), turned(seed), "car")


def sampled_volume(one: Solid, other: Solid, count: int = 200_000) -> float:
    """The shared volume by points drawn in the first box."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (count, 3)) * one.size @ one.rotation.T + one.center
    inside = np.abs((points - other.center) @ other.rotation) <= other.size / 2
    return float(inside.all(1).mean()) * one.volume


@pytest.mark.parametrize("seed", range(6))
def test_the_shared_volume_is_that_of_points_in_both(seed):
    one, other = drawn(2 * seed), drawn(2 * seed + 1)
    assert shared_volume(one, other) == pytest.approx(sampled_volume(one, other), abs=0.01 * one.volume)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_overlap_is_symmetric_bounded_and_the_same_from_everywhere(a, b, c):
    one, other, rotation = drawn(a), drawn(b), turned(c)
    found = overlap(one, other)
    assert 0 <= found <= 1 and found == pytest.approx(overlap(other, one), abs=1e-6)
    moved = [
        attrs.evolve(s, center=rotation @ s.center + (1, 2, 3), rotation=rotation @ s.rotation) for s in (one, other)
    ]
    assert found == pytest.approx(overlap(*moved), abs=1e-6)


def test_boxes_along_the_axes_overlap_as_by_hand():
    one = Solid(np.zeros(3), np.array([2.0, 2, 2]), np.eye(3))
    assert overlap(one, one) == pytest.approx(1)
    assert overlap(one, attrs.evolve(one, center=np.array([1.0, 0, 0]))) == pytest.approx(4 / 12)
    assert overlap(one, attrs.evolve(one, size=np.array([1.0, 1, 1]))) == pytest.approx(1 / 8)
    assert overlap(one, attrs.evolve(one, center=np.array([2.0, 0, 0]))) == pytest.approx(0, abs=1e-9)
    assert overlap(one, attrs.evolve(one, center=np.array([9.0, 0, 0]))) == 0


def test_average_precision_of_right_wrong_and_half_right_lists():
    truths = [[drawn(0), attrs.evolve(drawn(1), class_name="bus")], [drawn(2)]]
    assert average_precision(truths, truths) == {"ap3d": 1.0, "ap3d_15": 1.0, "ap3d_25": 1.0}
    assert average_precision([[], []], truths)["ap3d"] == 0
    missed = average_precision([truths[0][1:], truths[1]], truths)["ap3d"]  # one of two cars, all buses
    assert missed == pytest.approx((51 / 101 + 1) / 2)
    twice = [[truths[0][0], truths[0][0], truths[0][1]], truths[1]]
    assert average_precision(twice, truths)["ap3d"] < 1  # the second one has no truth left to take
    assert average_precision([[]], [[]]) == {}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_the_overlap_does_not_depend_on_the_unit(scale):
    one = Solid(np.zeros(3), np.array([1.0, 2.0, 3.0]) * scale, turned(1))
    half = attrs.evolve(one, center=one.rotation[:, 0] * scale / 2)
    assert overlap(one, one) == pytest.approx(1) and overlap(one, half) == pytest.approx(1 / 3, rel=1e-4)


def test_what_is_beside_the_camera_is_not_learned():
    """Its center would be thousands of pictures away, and with it the loss."""
    solver = SolidSolver(["car"], [[0.0, 0.0, 0.0]], (0.0, 1.0), 1.0)
    near = [Solid(np.array([x, 0.0, 0.01]), np.ones(3), np.eye(3), "car") for x in (0.0, 0.01, 5.0)]
    targets = solver.targets(SolidScene(tuple(near), 1.0), (8, 8))
    assert (targets["cell"] >= 0).sum() == 2 and np.abs(targets["numbers"][:, :2]).max() <= 16


def test_the_usual_focal_length_is_that_of_the_square_that_is_read(tmp_path):
    box = {"class_name": "car", "center": [0.0, 0.0, 4.0], "size": [1.0, 1.0, 1.0], "rotation": np.eye(3).tolist()}
    for name in ("rgb", "boxes3d"):
        (tmp_path / name).mkdir()
    for number, width in enumerate((48, 48, 32)):
        Image.new("RGB", (width, 32)).save(tmp_path / f"rgb/{number}.png")
        (tmp_path / f"boxes3d/{number}.json").write_text(json.dumps({"focal": 1.0, "boxes": [box]}))
    task, reader = Boxes3d(), am.registry().modality("rgb")(size=32)
    source = open_source(str(tmp_path), [reader], task.truth(am.ModalitySet([reader])), None)
    solver = task.learn(SolidBoxes(), source.truths(task.cut))
    assert solver.facts["focal"] == pytest.approx((1.5 + 1.5 + 1.0) / 3)
    assert solver.facts["depth"][0] == pytest.approx(np.mean(np.log([4 / 1.5, 4 / 1.5, 4])))
