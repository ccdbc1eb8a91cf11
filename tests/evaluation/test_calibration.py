"""Calibration: temperatures that are found again, errors of known value, and what a calibrated model says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_runs import command

import anymodal as am
from anymodal.errors import CheckpointError, ConfigError, DataError, GenerationError
from anymodal.evaluation.calibration import Temperature, _warn_of_worse
from anymodal.evaluation.temperature import Reliability, fitted_temperature
from anymodal.modality import CALIBRATED
from anymodal.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("rgb", "depth", "semseg", "caption"):
        (root / name).mkdir()
    for k in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(root / f"rgb/{k}.png")
        np.save(root / f"depth/{k}.npy", rng.uniform(0.1, 1, (32, 32)).astype(np.float32))
        classes = rng.integers(0, 5, (32, 32), np.uint8)
        classes[:8] = 255
        Image.fromarray(classes).save(root / f"semseg/{k}.png")
        (root / f"caption/{k}.txt").write_text(f"a picture with the number {k}")
    (root / "depth/5.npy").unlink()
    return root


@pytest.fixture
def model(checkpoint) -> am.AnyModel:
    return am.load(checkpoint, device="cpu")


@settings(max_examples=10, deadline=None)
@given(st.floats(0.25, 4.0), st.integers(2, 9), st.integers(0, 99))
def test_the_temperature_of_drawn_truths_is_found(temperature, size, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(20000, size)) * 2
    truths = (logits / temperature + rng.gumbel(size=logits.shape)).argmax(1)
    scores, ids = torch.from_numpy(logits).float(), torch.from_numpy(truths)
    found = fitted_temperature(scores, ids)
    assert found == pytest.approx(temperature, rel=0.1)

    def loss(t: float) -> float:
        return float(torch.nn.functional.cross_entropy(scores.double() / t, ids))

    assert loss(found) <= min(loss(found * 1.02), loss(found / 1.02))


def test_what_is_always_right_or_wrong_stays_within_bounds():
    logits = torch.eye(4)
    assert fitted_temperature(logits, torch.arange(4)) == pytest.approx(CALIBRATED[0], rel=1e-3)
    assert fitted_temperature(logits, torch.arange(4).roll(1)) == pytest.approx(CALIBRATED[1], rel=1e-3)


def test_the_error_is_the_distance_of_confidence_and_accuracy_by_bins():
    sure = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.6, 0.6, 1.0])
    logits = torch.stack([sure, 1 - sure], 1).clamp_min(1e-9).log()
    truths = torch.tensor([0, 0, 0, 1, 1, 1, 0])
    found = Reliability()
    for part in (slice(0, 3), slice(3, 7)):
        found.add(logits[part], truths[part])
    expected = (abs(4 * 0.9 - 3) + abs(2 * 0.6 - 0) + 0) / 7
    assert found.error == pytest.approx(expected, abs=1e-5) and found.places == 7
    said = torch.where(truths == 0, sure, 1 - sure)
    assert found.mean_loss == pytest.approx(float(-said.log().mean()), abs=1e-4)
    assert found.counts[13] == 4 and found.counts[9] == 2 and found.counts[14] == 1


def test_each_target_gets_what_its_tokens_say(data, model):
    found = am.calibrate(model, data, batch=2, samples=3, seed=1)
    rows = {(each.target, each.of): each for each in found.temperatures}
    assert {"depth", "semseg", "caption", "canny_edge", "color_palette"} == {target for target, _ in rows}
    assert ("semseg", "classes") in rows and ("depth", "classes") not in rows
    assert found.fitted == found.tried == 3 and list(found.inputs) == ["rgb"]
    for (target, of), row in rows.items():
        assert model.modalities[target].calibration[of] == row.temperature
        assert row.before.places == row.after.places > 0
    assert rows["semseg", "classes"].before.places == 3 * 24 * 32  # without those of no class
    assert rows["canny_edge", "classes"].before.places == 3 * 32 * 32  # an edge or none, of every pixel
    assert not model.modalities["rgb"].calibration
    again = am.calibrate(am.load(model.origin.model, device="cpu"), data, batch=6, samples=3, seed=1)
    for each in again.temperatures:  # whatever the batch
        assert each.temperature == pytest.approx(rows[each.target, each.of].temperature, rel=1e-3)


def test_the_losses_are_those_of_training(data, model):
    """The tokens of texts and grids, predicted as in training: a whole text after [S_1], a whole grid in one pass."""
    from anymodal.generation import SampleState
    from anymodal.model import Transformer
    from anymodal.tokens import Packed, Packer, collate

    found = am.calibrate(model, data, targets=["depth", "caption"], count=5, seed=2)
    halves = np.random.default_rng(2).permutation(5)[2:]
    layout, transformer = model.modalities.layout, model.transformer
    assert isinstance(transformer, Transformer)
    for row in found.temperatures:
        samples = []
        for k in halves:
            ending = ".npy" if row.target == "depth" else ".txt"
            ids = model.tokenize({row.target: data / f"{row.target}/{k}{ending}"})[row.target]
            packer = Packer(layout)
            if row.target == "caption":
                packer.add_sequence_target("caption", np.array([layout["caption"].space.sentinel(1), *ids]))
            else:
                packer.add_grid_target("depth", ids, np.arange(len(ids)))
            state = SampleState(layout, model.modalities.condition(model.accept({"rgb": data / f"rgb/{k}.png"})))
            samples.append(Packed(state.pack().inputs, packer.pack().targets))
        loss = transformer(collate(samples, layout))[row.target]
        assert row.before.mean_loss == pytest.approx(float(loss), rel=1e-4)


def test_values_stay_and_their_uncertainty_follows(data, model, tmp_path):
    given_value = {"rgb": data / "rgb/0.png"}
    options = {
        "depth": {"scheme": "mean", "temperature": 0.5},
        "semseg": {"scheme": "roar", "steps": 1, "temperature": 1.0, "samples": 3},
    }
    plain = model.generate(given_value, ["depth", "semseg"], options=options, chain=False)
    model.modalities["depth"].calibration = {"ids": 3.0}
    model.modalities["semseg"].calibration = {"ids": 2.0, "classes": 0.1}
    model.save_pretrained(tmp_path / "calibrated")
    again = am.load(tmp_path / "calibrated", device="cpu")
    assert dict(again.modalities["semseg"].calibration) == {"ids": 2.0, "classes": 0.1}
    made = again.generate(given_value, ["depth", "semseg"], options=options, chain=False)
    for name in ("depth", "semseg"):
        assert np.array_equal(made[name], plain[name]) and np.array_equal(made.tokens[name], plain.tokens[name])
        higher = made.uncertainty[name] - plain.uncertainty[name]
        assert (higher > 1e-3).all() if name == "depth" else (higher < -1e-3).all()
    options["depth"]["temperature"] = 1.0  # the calibrated one stands in its place
    other = again.generate(given_value, "depth", options={"depth": options["depth"]})
    assert np.allclose(other.uncertainty["depth"], made.uncertainty["depth"], atol=1e-3)


def test_a_temperature_that_makes_the_others_worse_is_told(caplog):
    logits, truths = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
    sides = {temperature: Reliability() for temperature in (0.2, 1.0, 3.0)}
    for temperature, side in sides.items():
        side.add(logits, truths, temperature)
    worse = Temperature("depth", "ids", 0.2, sides[1.0], sides[0.2])
    better = Temperature("semseg", "classes", 3.0, sides[1.0], sides[3.0])
    _warn_of_worse([better], 1, 1)
    assert not caplog.text
    _warn_of_worse([worse, better], 3, 2)
    assert "depth (ids): with its temperature, fitted to 3 samples" in caplog.text
    assert "semseg" not in caplog.text
    assert len(caplog.records) == 1


def test_small_probabilities_stay_a_distribution(model):
    depth = model.modalities["depth"]
    depth.calibration = {"ids": CALIBRATED[0]}
    flat = np.full((3, 8192), 1 / 8192, np.float32)
    assert np.allclose(depth.calibrated(flat, "ids"), flat, rtol=1e-4)
    sure = np.eye(3, dtype=np.float32)
    assert np.array_equal(depth.calibrated(sure, "ids", 0.0), sure)
    assert depth.calibrated(flat, "classes") is flat


@pytest.mark.parametrize("wrong", [{"ids": 0.0}, {"ids": -1.0}, {"ids": 1e9}, {"colors": 1.0}, {"ids": "warm"}])
def test_a_checkpoint_with_impossible_temperatures_is_refused(model, tmp_path, wrong):
    folder = model.save_pretrained(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["modalities"]["depth"]["calibration"] = wrong
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="calibration"):
        am.load(folder)


def test_what_cannot_be_is_told(data, model, tmp_path):
    with pytest.raises(GenerationError, match="both an input and a target"):
        am.calibrate(model, data, targets=["rgb"])
    with pytest.raises(GenerationError, match="has no 'normal'"):
        am.calibrate(model, data, targets=["normal"])
    with pytest.raises(ConfigError, match="samples at least 2"):
        am.calibrate(model, data, samples=1)
    with pytest.raises(DataError, match="2 at least"):
        am.calibrate(model, data, count=1)
    with pytest.raises(DataError):
        am.calibrate(model, tmp_path / "nosuch")


def test_the_command_writes_a_checkpoint_and_says_what_it_did(data, checkpoint, tmp_path, capsys):
    words = ["calibrate", checkpoint, data, "--to", "depth,semseg", "--samples", 2, "--device", "cpu"]
    assert command(*words, "--out", tmp_path / "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    stored = {name: dict(am.load(tmp_path / "out").modalities[name].calibration) for name in ("depth", "semseg")}
    for each in said["temperatures"]:
        assert stored[each["target"]][each["of"]] == pytest.approx(each["temperature"])
        assert 0 <= each["after"]["error"] <= 1 and each["before"]["loss"] > 0
    assert len(said["temperatures"]) == 3 and said["fitted"] == 3
    assert command(*words, "--out", tmp_path / "two") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[:4] == ["target", "of", "temperature", "places"] and "depth\tids" in "\n".join(lines)


def test_a_target_of_which_one_half_says_nothing_has_no_temperature(tmp_path):
    """Of no places any temperature is the best, and the search ended at the lowest."""
    model, rng = tiny_model(["rgb", "semseg"]), np.random.default_rng(0)
    fitted = np.random.default_rng(0).permutation(4)[:2]  # as the seed has it
    for k in range(4):
        model.modalities["rgb"].write(rng.integers(0, 256, (32, 32, 3), np.uint8), tmp_path / f"rgb/{k}.png")
        classes = np.full((32, 32), 255 if k in fitted else 1, np.uint8)
        model.modalities["semseg"].write(classes, tmp_path / f"semseg/{k}.png")
    found = am.calibrate(model, tmp_path, samples=2)
    assert [each.of for each in found.temperatures] == ["ids"] == list(model.modalities["semseg"].calibration)
