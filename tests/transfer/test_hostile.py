"""Arguments of probes and backbones that mean nothing, caches that are damaged, and pixels that say nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import anymodal as am
from anymodal.errors import ConfigError, DataError, ValueProblem
from anymodal.testing.tiny import tiny_model
from anymodal.transfer import Split
from anymodal.transfer.dense import cells_of
from anymodal.transfer.frozen import frozen_features
from anymodal.transfer.probe_data import class_data
from anymodal.transfer.probing import _checked, _class_names, _random_splits

ROWS = np.arange(8)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ([], "empty"),
        (5, "a list of"),
        ([([0, 1], [2])], "a list of"),
        ([Split(ROWS[:4], ROWS[4:] + 90)], "held_out of a split"),
        ([Split(ROWS[:4] - 9, ROWS[4:])], "learned of a split"),
        ([Split(ROWS[:4] * 1.0, ROWS[4:])], "learned of a split"),
        ([Split(ROWS[:0], ROWS)], "no sample that is learned"),
        ([Split(ROWS, ROWS[:0])], "no sample that is held out"),
        ([Split(ROWS[:6], ROWS[5:])], "learns from sample 5 and is tried on it"),
    ],
)
def test_splits_that_cannot_be_are_refused(splits, said):
    with pytest.raises(ConfigError, match=said):
        _checked(splits, 8)


def test_masks_are_splits_too():
    (split,) = _checked([Split(ROWS < 4, ROWS >= 4)], 8)
    assert split.learned.tolist() == [0, 1, 2, 3] and split.held_out.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    "labels", ["abab", [math.nan, 1.0], [None, "a"], [[1], [2]], [{}, {}], [1, "a"], [0.5, 1.5], np.zeros((2, 2))]
)
def test_labels_are_texts_or_whole_numbers(labels):
    with pytest.raises(ConfigError, match="labels are"):
        _class_names(labels)


@pytest.mark.parametrize(
    ("held_out", "seeds"), [("x", 1), (None, 1), (math.nan, 1), (True, 1), (0.5, 10**9), (0.5, math.nan)]
)
def test_random_splits_are_bounded(held_out, seeds):
    with pytest.raises(ConfigError):
        _random_splits(8, held_out, seeds)


@pytest.mark.parametrize("layer", ["x", True, 1.5, None, 99])
def test_a_layer_that_there_is_not_is_told(small_model, layer):
    values = [small_model.accept({"rgb": np.zeros((32, 32, 3), np.uint8)})]
    with pytest.raises(ConfigError, match="there is no block"):
        frozen_features(small_model, values, layer=layer)


def test_a_part_of_the_data_without_a_readable_file_is_told(small_model, tmp_path):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(2):
                path = tmp_path / part / name / f"{k}.png"
                small_model.modalities["rgb"].write(np.full((8, 8, 3), k, np.uint8), path)
                if part == "val":
                    path.write_bytes(b"nothing")
    found = class_data(small_model, tmp_path, "rgb")
    with pytest.raises(ConfigError, match="no sample that is held out"):
        am.probe(small_model, found.samples, found.labels, splits=found.splits, head="knn")


def test_changed_numbers_in_a_kept_file_are_noticed(small_model, tmp_path):
    values = [small_model.accept({"rgb": np.full((32, 32, 3), k, np.uint8)}) for k in range(2)]
    frozen_features(small_model, values, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:200] + b"\xff" * 8 + whole[208:], b"", whole[:-90]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{file.name}.*remove it"):
            frozen_features(small_model, values, cache=tmp_path)
    np.save(file, np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="not what was written"):
        frozen_features(small_model, values, cache=tmp_path)


def test_features_that_are_not_finite_are_told(small_model, monkeypatch):
    monkeypatch.setattr("anymodal.transfer.frozen._computed", lambda *_: np.float32([[np.nan]]))
    with pytest.raises(ValueProblem, match="not finite"):
        frozen_features(small_model, [])


def test_pixels_without_a_label_teach_nothing():
    labels = np.array([[0, 0, 0, 0, 0, 0], [0, 2, 0, 0, 1, 1]])
    cells = cells_of([labels], (1, 3), "x", [labels != 0])
    assert cells.rows[0, 0, [0, 2], 0].tolist() == [2, 1] and cells.known.tolist() == [[[True, False, True]]]


def test_a_probe_of_classes_leaves_out_cells_without_one(small_model):
    labels = np.full((32, 32), 255, np.uint8)
    labels[:8], labels[8:16] = 1, 2
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    samples = [{"rgb": each, "semseg": labels} for each in noise]
    known = am.probe(small_model, samples, to="semseg", head="knn", seeds=1).mean("accuracy")
    assert known > 0.2  # a head that learned "none" of the lower half would say nothing else
    nothing = [{**sample, "semseg": np.full_like(labels, 255)} for sample in samples]
    with pytest.raises(ConfigError, match="semseg has nothing to learn from"):
        am.probe(small_model, nothing, to="semseg", head="knn", seeds=1)


@pytest.mark.parametrize("size", [True, math.nan, "x", (32,), (1, 2, 3), 10**9, (32, 10**9), 32.0, (32, "x")])
def test_a_size_that_cannot_be_is_refused_before_memory_is_taken(small_model, size):
    with pytest.raises(ConfigError, match=r"size is pixels|do not split"):
        am.backbone(small_model, ["rgb"], size=size)


@pytest.mark.parametrize("indices", [True, 0, -1, 10**12, 1.5, "x", [True], ["x"], [1.5], [math.nan], []])
def test_blocks_that_there_are_not_are_told(small_model, indices):
    with pytest.raises(ConfigError, match="the encoder has"):
        am.backbone(small_model, ["rgb"], out_indices=indices)


@pytest.mark.parametrize("names", [[], [5], 5, ["rgb", "rgb"]])
def test_names_of_a_backbone_are_told_apart(small_model, names):
    with pytest.raises(ConfigError, match="a backbone reads modalities"):
        am.backbone(small_model, names)


@pytest.mark.parametrize("given", [None, 5, [1], np.zeros((1, 3, 32, 32)), {"rgb": None}])
def test_a_backbone_takes_tensors_alone(small_model, given):
    with pytest.raises(ValueProblem, match="takes a tensor"):
        am.backbone(small_model, ["rgb"])(given)
    with pytest.raises(ConfigError, match="values by modality"):
        am.backbone(small_model, ["rgb"]).preprocess(torch.zeros(1))


TENSORS = {
    "channels": {"rgb": torch.zeros(1, 4, 32, 32)},
    "no batch": {"rgb": torch.zeros(3, 32, 32)},
    "no shape": {"rgb": torch.tensor(1.0)},
    "whole numbers": {"rgb": torch.zeros(1, 3, 32, 32, dtype=torch.uint8)},
    "complex": {"rgb": torch.zeros(1, 3, 32, 32, dtype=torch.complex64)},
    "tokens": {"depth": torch.zeros(1, 3, 32, 32)},
    "tokens of whole numbers": {"depth": torch.zeros(1, 1, 32, 32, dtype=torch.int64)},
    "classes that are no numbers": {"semseg": torch.zeros(1, 32, 32)},
    "classes that are bools": {"semseg": torch.zeros(1, 32, 32, dtype=torch.bool)},
    "classes with channels": {"semseg": torch.zeros(1, 1, 32, 32, dtype=torch.int64)},
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_a_backbone_does_not_read_are_told(small_model, kind):
    with pytest.raises(ValueProblem, match=r"is read as .* not torch\..* of shape"):
        am.backbone(small_model, list(TENSORS[kind]))(TENSORS[kind])


def test_tensors_of_a_batch_have_as_many_samples(small_model):
    batch = {"rgb": torch.zeros(2, 3, 32, 32), "depth": torch.zeros(1, 1, 32, 32)}
    with pytest.raises(ValueProblem, match=r"as many samples each.*rgb.*\(2, 3"):
        am.backbone(small_model, list(batch))(batch)


def test_what_is_no_grid_is_told(small_model):
    samples = [{"rgb": np.zeros((32, 32, 3), np.uint8), "caption": "a dog"}] * 4
    with pytest.raises(
        ConfigError, match=r"'caption' is no grid, whose cells could be read off features; such are .*depth"
    ):
        am.probe(small_model, samples, to="caption", head="knn", seeds=1)


def test_folds_of_few_samples_are_no_reason_to_warn(recwarn):
    """Of four samples a fold may leave one class, and fewer neighbors than are asked for."""
    from anymodal.transfer import HEADS

    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    for head in ("linear", "knn"):
        predict = HEADS(head).classes(rows, np.array([0, 0, 0, 1]), np.arange(4), 0)
        assert set(predict(rows)) <= {0, 1}
    assert not recwarn


def test_pixels_that_were_not_measured_are_the_mean_of_those_that_were():
    numbers = np.array([[[1, 2, 9, 9], [3, 50, 9, 9]], [[4, 5, 9, 9], [6, 50, 9, 9]]], np.float32)
    measured = np.array([[True, True, False, False], [True, False, False, False]])
    cells = cells_of([numbers], (1, 2), "x", [measured])
    assert cells.rows[0, 0, 0].tolist() == [1, 2, 3, 2, 4, 5, 6, 5] and cells.known.tolist() == [[[True, False]]]


def test_a_probe_of_normals_learns_nothing_from_holes():
    """Of vectors that are mixed with the zeros of holes half would be too short to be a surface."""
    rng = np.random.default_rng(0)
    up = np.broadcast_to(np.float32([0, 1, 0]), (32, 32, 3))
    samples = [
        {
            "rgb": rng.integers(0, 256, (32, 32, 3), np.uint8),
            "normal": np.where(rng.random((32, 32, 1)) < 0.4, up, 0).astype(np.float32),
        }
        for _ in range(8)
    ]
    found = am.probe(tiny_model(["rgb", "normal"]), samples, to="normal", head="knn", seeds=1)
    assert found.mean("mean_angle") == found.constant[0]["mean_angle"] == pytest.approx(0, abs=0.1)
