"""How sure a model is of several draws, against counts by hand and against what is drawn from known beliefs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from anymodal_caption import Caption
from anymodal_depth import Depth
from anymodal_semseg import Semseg
from PIL import Image

import anymodal as am
from anymodal.evaluation import TASKS
from anymodal.evaluation.reliability import BINS, LEVELS, DrawReliability, add_value, listening


def test_classes_are_counted_as_by_hand():
    rng = np.random.default_rng(0)
    likely, truth = rng.dirichlet([1, 1, 1], 400), rng.integers(0, 3, 400)
    found = DrawReliability("classes")
    found.add_classes(likely, truth)
    most, right, expected = likely.max(1), likely.argmax(1) == truth, 0.0
    for low in np.arange(BINS) / BINS:
        here = (most >= low) & (most < low + 1 / BINS)
        expected += abs(most[here].sum() - right[here].sum()) / 400
    assert found.error == pytest.approx(expected)
    again = DrawReliability("classes")
    again.merge(json.loads(json.dumps(found.state())))
    assert again.as_json() == found.as_json()


@pytest.mark.parametrize(("factor", "low", "high"), [(1.0, 0, 0.01), (0.25, 0.25, 0.5), (4.0, 0.15, 0.5)])
def test_numbers_as_sure_as_they_are_right_have_no_error(factor, low, high):
    rng = np.random.default_rng(1)
    mean, spread = rng.standard_normal(20_000), rng.uniform(0.5, 2, 20_000)
    found = DrawReliability("intervals")
    found.add_numbers(mean, factor * spread, mean + spread * rng.standard_normal(20_000))
    assert low <= found.error < high and len(found.as_json()["curve"]) == len(LEVELS)


def test_only_what_is_measured_counts():
    depth = Depth(size=64)
    truth = np.full((64, 64), 5, np.float32)
    truth[:32] = np.nan
    found = DrawReliability("intervals")
    add_value(found, depth, np.full((64, 64), 5.0), np.ones((64, 64), np.float32), None, truth)
    assert found.places[0] == 32 * 64 and (found.right == found.places).all()


def test_places_where_all_draws_agree_are_the_surest():
    depth, unsure = Depth(size=64), np.ones((64, 64), np.float32)
    unsure[:32] = 0
    found = DrawReliability("intervals")
    add_value(found, depth, np.full((64, 64), 5.0), unsure, None, np.full((64, 64), 5.1, np.float32))
    assert found.places[0] == 64 * 64 and found.right[-1] == 32 * 64  # agreed on, and wrong


def test_relative_depth_is_compared_in_the_scale_in_which_it_is_made(small_model, tmp_path):
    rng, found = np.random.default_rng(0), []
    depth = small_model.modalities["depth"]
    near = rng.uniform(0.2, 0.9, (3, 40, 40)).astype(np.float32)
    near[:, :9] = 0
    for scale, shift in ((1, 0), (40, 7)):
        for name in ("rgb", "depth"):
            (tmp_path / f"{scale}/{name}").mkdir(parents=True)
        for k, truth in enumerate(near):
            Image.fromarray(np.full((40, 40, 3), 70 * k, np.uint8)).save(tmp_path / f"{scale}/rgb/{k}.png")
            np.save(tmp_path / f"{scale}/depth/{k}.npy", np.where(truth > 0, scale * truth + shift, 0))
        how = {"scheme": "roar", "steps": 1, "temperature": 1.0, "samples": 3, "batch": 2}
        found.append(am.evaluate("depth", tmp_path / str(scale), small_model, **how).reliability)
    assert found[0]["error"] == pytest.approx(found[1]["error"], abs=1e-3)
    task, truth = TASKS("depth"), near[0]
    made = task.as_made(depth, truth)
    assert np.isnan(made[:9]).all() and abs(made[9:].mean()) < 0.5 < made[9:].std()
    assert task.as_made(Depth(scaling="log", low=0.1, high=9.0), truth) is truth


def test_several_draws_bring_a_figure(small_model, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("rgb", "semseg"):
        (tmp_path / name).mkdir()
    for k in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / f"rgb/{k}.png")
        Image.fromarray(rng.integers(0, 5, (40, 40), np.uint8)).save(tmp_path / f"semseg/{k}.png")
    how = {"scheme": "roar", "steps": 1, "temperature": 1.0}
    found = am.evaluate("semseg", tmp_path, small_model, out=tmp_path / "out", samples=3, batch=2, **how)
    told = json.loads((tmp_path / "out/report.json").read_text())["reliability"]
    assert told == found.reliability and 0 < told["error"] < 1
    assert sum(weight for *_, weight in told["curve"]) == 3 * 32 * 32
    with Image.open(tmp_path / "out/calibration.png") as figure:
        assert figure.size == (480, 480)
    assert "Expected calibration error" in found.markdown()
    said = am.evaluate("semseg", tmp_path, small_model, samples=3, batch=2, scheme="mean")
    assert said.reliability is None and "draw by scheme=roar" in said.notes[-1]
    assert am.evaluate("semseg", tmp_path, small_model, batch=2, **how).reliability is None


def test_parts_are_as_sure_as_draws_have_them():
    found, caption = DrawReliability("parts"), Caption(length=24)
    doubts = np.array([0.0, 0.75, 0.5, 0.5], np.float32)
    add_value(found, caption, "a red car there", doubts, None, "a blue car")
    add_value(found, caption, "", np.zeros(0, np.float32), None, "a car")
    curve = {round(sure, 2): (right, weight) for sure, right, weight in found.as_json()["curve"]}
    assert curve == {1.0: (1.0, 1.0), 0.25: (0.0, 1.0), 0.5: (0.5, 2.0)} and found.error == pytest.approx(0.25 / 4)


def test_a_label_map_is_heard_and_left_as_it_was():
    modality = Semseg()
    with listening(modality) as heard:
        assert "likely" in vars(modality) and heard == []
    assert "likely" not in vars(modality)


def test_draws_that_are_all_alike_are_told(small_model, tmp_path):
    for name in ("rgb", "caption"):
        (tmp_path / name).mkdir()
    for k in range(2):
        Image.fromarray(np.full((40, 40, 3), 90 * k, np.uint8)).save(tmp_path / f"rgb/{k}.png")
        (tmp_path / f"caption/{k}.txt").write_text("a red car")
    alike = am.evaluate("caption", tmp_path, small_model, samples=2, batch=2, temperature=0.0)
    assert "all alike at the temperature 0" in alike.notes[-1]
    drawn = am.evaluate("caption", tmp_path, small_model, samples=2, batch=2, temperature=1.0)
    assert not drawn.notes and drawn.reliability["of"] == "parts" and drawn.reliability["error"] > 0
