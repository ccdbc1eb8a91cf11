"""Arguments of the wrong kind are named, before anything is done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anymodal as am
from anymodal.config.arguments import COUNT, DICTS, FLAG, FUNCTION, LIST, NAMES, PLACE, TEXT, WHOLE, optional, takes
from anymodal.errors import ConfigError

TEXTS = {"caption": "a dog"}


def ignored(step):
    """Takes what a progress function takes."""


CALLS = {
    "progress of generate": (lambda m: m.generate(TEXTS, "depth", progress=5), "progress is a function, got 5"),
    "progress of generate_batch": (lambda m: m.generate_batch([TEXTS], "depth", progress=[]), "progress is a function"),
    "progress of tiles": (lambda m: m.generate(TEXTS, "depth", size=(64, 64), progress=5), "progress is a function"),
    "inputs of tiles": (lambda m: m.generate(5, "depth", size=(64, 64)), "inputs is a dict by name, got 5"),
    "inputs of generate_batch": (lambda m: m.generate_batch(5, "depth"), "inputs is a list, got 5"),
    "one of generate_batch": (
        lambda m: m.generate_batch(TEXTS, "depth"),
        "inputs is a list, got a dict with 'caption'",
    ),
    "inputs of tokenize": (lambda m: m.tokenize("photo.jpg"), "is a dict by name, got 'photo.jpg'"),
    "inputs of accept": (lambda m: m.accept(None), "inputs is a dict by name, got None"),
    "inputs of features": (lambda m: m.features(5), "samples is a list of dicts by name, got 5"),
    "name of sample": (lambda m: am.sample(["coffee"]), "no sample picture \\['coffee'\\]"),
    "model of calibrate": (lambda m: am.calibrate(None, "data"), "model is a model, or its name, got None"),
    "data of calibrate": (lambda m: am.calibrate(m, 5), "data is a path, got 5"),
    "inputs of calibrate": (lambda m: am.calibrate(m, "data", inputs="rgb"), "inputs is a list of names, got 'rgb'"),
    "batch of calibrate": (lambda m: am.calibrate(m, "data", batch="x"), "batch is a whole number, got 'x'"),
    "data of evaluate": (lambda m: am.evaluate("semseg", None, m), "data is a path, got None"),
    "count of evaluate": (lambda m: am.evaluate("semseg", "data", m, count="9"), "count is a whole number, got '9'"),
    "path of check_dataset": (lambda m: am.check_dataset(None), "path is a path, got None"),
    "names of check_dataset": (lambda m: am.check_dataset("data", names=["rgb"]), "names is a dict by name, got list"),
    "count of label_dataset": (
        lambda m: am.label_dataset("data", {"depth": None}, "out", count=-1),
        "at least 1, got -1",
    ),
    "shards of tokenize_dataset": (
        lambda m: am.tokenize_dataset("data", lambda: m.modalities, "out", shard_size=0),
        "shard_size is a whole number of at least 1, got 0",
    ),
    "labelers": (lambda m: am.label_dataset("data", ["depth"], "out"), "labelers is a dict by name, got list"),
    "make_set": (lambda m: am.tokenize_dataset("data", m.modalities, "out"), "make_set is a function, got ModalitySet"),
    "modalities of fit": (lambda m: am.fit(["rgb"], []), "modalities is a ModalitySet, got list"),
    "samples of fit": (lambda m: am.fit(m.modalities, TEXTS), "samples is a list of dicts by name, got a dict with"),
    "a generator of fit": (
        lambda m: am.fit(m.modalities, (TEXTS for _ in range(9))),
        "samples is a list of dicts by name, got generator",
    ),
    "a generator of generate_batch": (
        lambda m: m.generate_batch((TEXTS for _ in range(2)), "depth"),
        "inputs is a list, got generator",
    ),
    "a name as a set": (lambda m: am.ModalitySet("rgb"), "members is a list of modalities, got 'rgb'"),
    "a class as a set": (lambda m: am.ModalitySet(type(m.modalities["depth"])), "members is a list of modalities, got"),
    "progress of fit": (lambda m: am.fit(m.modalities, [TEXTS], progress=5), "progress is a function, got 5"),
    "steps of fit": (lambda m: am.fit(m.modalities, [TEXTS], steps="many"), "steps is a whole number, got 'many'"),
    "config of train": (lambda m: am.train("model.yaml", "out"), r"config is a TrainConfig, as .*load_config\("),
    "config of train_tokenizer": (lambda m: am.train_tokenizer({}, "out"), "config is a TokenizerRun.*an empty dict"),
    "config of train_teacher": (lambda m: am.train_teacher(None, "out"), "config is a TeacherRun"),
    "config of train_transfer": (lambda m: am.train_transfer(Path("a.yaml"), "out"), "config is a TransferConfig"),
    "model of probe": (lambda m: am.probe("tiny", [TEXTS]), "model is a model, got 'tiny'"),
    "model of backbone": (lambda m: am.backbone(None), "model is a model, or its name, got None"),
    "folder of load_transfer": (lambda m: am.load_transfer(None), "folder is a path, got None"),
    "folder of Index": (lambda m: am.Index(5), "folder is a path, got 5"),
}


@pytest.mark.parametrize("case", CALLS)
def test_an_argument_of_the_wrong_kind_is_named(case, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = CALLS[case]
    with pytest.raises(am.AnymodalError, match=words):
        call(am.load(checkpoint, device="cpu"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (WHOLE, (3, 3.0, np.int64(3)), (True, 3.5, "3", float("nan"), float("inf"))),
        (COUNT, (1, 2.0, np.int64(3)), (True, 0, -1, 1.5, "3", None)),
        (NAMES, (["a"], ("a",), {"a"}, {"a": 1}.keys()), ("a", [1], {"a": 1}, 5)),
        (DICTS, ([{}], ({},), []), ({}, [1], "a", b"a", 5, Path("a"), iter([{}]))),
        (LIST, ([1], np.zeros(2)), ({}, "a", 5, iter([1]))),
        (PLACE, ("a", Path("a")), (5, b"a", None)),
        (TEXT, ("a",), (5, b"a")),
        (FLAG, (True, False), (1, "yes")),
        (FUNCTION, (print, ignored), (5, "print")),
        (optional(TEXT), (None, "a"), (5,)),
    ],
    ids=lambda value: getattr(value, "words", ""),
)
def test_what_is_of_a_kind(kind, good, bad):
    assert all(kind.fits(value) for value in good)
    assert not any(kind.fits(value) for value in bad)


def test_whole_floats_are_numbers_of_samples(tmp_path):
    (tmp_path / "caption").mkdir()
    for number in range(3):
        (tmp_path / f"caption/{number}.txt").write_text("a dog")
    assert am.check_dataset(tmp_path, count=2.0).samples == 2


def test_defaults_are_taken_and_the_rest_is_told_by_python():
    @takes(count=WHOLE)
    def measured(data, *, count=None):
        """Of the data."""
        return data, count

    assert measured(1) == measured(1, count=None) == (1, None)
    assert [type(measured(1, count=each)[1]) for each in (3, 3.0, np.int64(3))] == [int, int, int]
    assert measured.__doc__ == "Of the data."
    with pytest.raises(ConfigError, match=r"^count is a whole number, got a dict with 'a'$"):
        measured(1, count={"a": 1})
    with pytest.raises(TypeError, match=r"measured.*unexpected keyword argument 'cuont'"):
        measured(1, cuont=1)
