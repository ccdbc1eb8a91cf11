"""What an index is given of the wrong kind or shape: one sentence with the name of the argument, before any work."""

from __future__ import annotations

import numpy as np
import pytest

import anymodal as am
from anymodal.errors import AnymodalError
from anymodal.retrieval import calibrate_index

TEXT, BY = {"caption": "a dog"}, "imagebind_global"


@pytest.fixture(scope="module")
def model() -> am.AnyModel:
    return am.load("tiny", modalities=["caption", "depth", BY])


@pytest.fixture(scope="module")
def made(model, tmp_path_factory) -> am.Index:
    index = am.Index.create(tmp_path_factory.mktemp("made") / "index", 64, model=model, by=BY)
    index.add(np.eye(64)[:5], list("abcde"))
    return index


def vector(value: float, *shape: int) -> dict[str, np.ndarray]:
    return {BY: np.full(shape or 64, value, np.float32)}


ASKED = {
    "model by its name": (
        lambda i, m: i.query("tiny", TEXT),
        "model is a model, as anymodal.load gives one, got 'tiny'",
    ),
    "no model": (lambda i, m: i.query(None, TEXT), "model is a model.*, got None"),
    "inputs as text": (lambda i, m: i.query(m, "a dog"), "inputs is a dict by name, got 'a dog'"),
    "inputs in a list": (lambda i, m: i.query(m, [TEXT]), "inputs is a dict by name, got list"),
    "no inputs": (lambda i, m: i.query(m, {}), "a query needs an input, such as caption='a red car'"),
    "inputs by number": (lambda i, m: i.query(m, {5: "a dog"}), "inputs are a dict of values by modality, got {5"),
    "unknown modality": (lambda i, m: i.query(m, {"captoin": "a"}), "'captoin' is not in this set; did you mean 'capt"),
    "wrong value": (lambda i, m: i.query(m, {"caption": 5}), "caption takes text"),
    "wrong shape": (lambda i, m: i.query(m, vector(1, 2, 64)), r"imagebind_global takes a vector of shape \(64,\)"),
    "wrong length": (lambda i, m: i.query(m, vector(1, 32)), r"imagebind_global takes a vector of shape \(64,\)"),
    "NaN": (lambda i, m: i.query(m, vector(np.nan)), "imagebind_global: number 0 has no direction"),
    "infinite": (lambda i, m: i.query(m, vector(np.inf)), "imagebind_global: number 0 has no direction"),
    "zero": (lambda i, m: i.query(m, vector(0)), "imagebind_global: number 0 has no direction"),
    "none of them": (lambda i, m: i.query(m, TEXT, 0), "top is a whole number from 1 to 10000, got 0"),
    "less than none": (lambda i, m: i.query(m, TEXT, -1), "top is a whole number from 1 to 10000, got -1"),
    "draws": (lambda i, m: i.query(m, TEXT, draws=0), "draws is a whole number from 1 to 1000, got 0"),
    "seed": (lambda i, m: i.query(m, TEXT, seed=1.5), "a seed is a whole number, got 1.5"),
    "search": (lambda i, m: i.query(m, TEXT, search="exakt"), "no search 'exakt'; did you mean 'exact'"),
    "mask": (lambda i, m: i.query(m, TEXT, where=np.ones(3, bool)), r"bool of shape \(5,\), not bool \(3,\)"),
    "weights": (lambda i, m: i.query(m, TEXT, weights=[1]), r"weights are a dict .* got \[1\]"),
    "one of several": (
        lambda i, m: i.query_vectors(m, TEXT),
        "inputs is a list of dicts by name, got a dict with 'capt",
    ),
    "several that are none": (lambda i, m: i.query_vectors(m, [5]), "inputs is a list of dicts by name, got list"),
    "vector of NaN": (lambda i, m: i.search(np.full(64, np.nan)), "number 0 has no direction"),
    "one vector of several": (lambda i, m: i.nearest(np.ones(64)), r"numbers of shape \(rows, channels\)"),
    "columns": (lambda i, m: i.add(np.ones((1, 64)), ["f"], 5), "columns is a dict by name, got 5"),
    "rows": (lambda i, m: i.hits(None, [1.0]), "rows is a list, got None"),
    "model of calibrate": (lambda i, m: i.calibrate(5, [TEXT], np.ones((1, 64))), "model is a model.*, got 5"),
    "index of calibrate_index": (
        lambda i, m: calibrate_index("i", m, "data", [["depth"]]),
        "index is an Index, got 'i'",
    ),
    "model of calibrate_index": (
        lambda i, m: calibrate_index(i, "m", "data", [["depth"]]),
        "model is a model.*, got 'm'",
    ),
    "data of calibrate_index": (lambda i, m: calibrate_index(i, m, 5, [["depth"]]), "data is a path, got 5"),
}


@pytest.mark.parametrize("weights", [None, {}])
def test_no_queries_have_no_vectors(weights, made, model):
    vectors = made.query_vectors(model, [], weights=weights)
    assert vectors.shape == (0, 64) and made.nearest(vectors, 3)[0].shape == (0, 3)


@pytest.mark.parametrize("case", ASKED)
def test_what_an_index_cannot_be_given_is_named(case, made, model):
    ask, said = ASKED[case]
    with pytest.raises(AnymodalError, match=said) as error:
        ask(made, model)
    assert "\n" not in str(error.value) and len(am.Index(made.folder)) == 5


CREATED = {
    "folder": (lambda f, m: am.Index.create(5, 4), "folder is a path, got 5"),
    "model by its name": (lambda f, m: am.Index.create(f, 64, model="tiny", by=BY), "model is a model.*, got 'tiny'"),
    "by": (lambda f, m: am.Index.create(f, 64, model=m, by=5), "by is text, got 5"),
    "unknown modality": (
        lambda f, m: am.Index.create(f, 64, model=m, by="imagebind"),
        "does not make 'imagebind'; did",
    ),
    "no modality": (lambda f, m: am.Index.create(f, 64, model=m), "the model does not make ''"),
    "no vector": (lambda f, m: am.Index.create(f, 64, model=m, by="depth"), "'depth' is not a vector: an index is by"),
    "channels": (lambda f, m: am.Index.create(f, 0), "channels is a whole number from 1 to .*, got 0"),
    "other channels": (lambda f, m: am.Index.create(f, 32, model=m, by=BY), "have 64 channels, got channels=32"),
}


@pytest.mark.parametrize("case", CREATED)
def test_an_index_that_cannot_be_is_not_begun(case, model, tmp_path):
    create, said = CREATED[case]
    with pytest.raises(AnymodalError, match=said):
        create(tmp_path / "index", model)
    assert not (tmp_path / "index").exists()
