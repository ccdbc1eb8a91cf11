"""The preset `tiny-7`: seven modalities of the weights of `tiny`, wherever a model is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from anymodal_tiny import SEVEN
from known_model import STORED
from small_runs import command

import anymodal as am
from anymodal.data.jobs.labelers import find_labeler, load_labeler
from anymodal.errors import ConfigError, GenerationError, UnknownModality

PICTURE = {"rgb": am.sample("coffee")}


@pytest.fixture(scope="module")
def seven() -> am.AnyModel:
    return am.load("tiny-7")


def test_it_has_seven_modalities_and_nothing_of_the_others_is_loaded(seven):
    whole = am.load("tiny")
    assert {modality.name for modality in seven.modalities} == set(SEVEN) == set(seven.modalities.targets)
    small, large = (sum(each.numel() for each in model.transformer.parameters()) for model in (seven, whole))
    assert small < large


def test_it_generates_what_tiny_does(seven):
    made = seven.generate(PICTURE)
    assert set(made) == set(SEVEN) - {"rgb"}
    targets = ["depth", "caption"]
    same = am.load("tiny").generate(PICTURE, targets, chain=False)
    own = seven.generate(PICTURE, targets, chain=False)
    assert np.array_equal(own["depth"], same["depth"]) and own["caption"] == same["caption"]


def test_a_modality_that_it_lacks_is_refused_by_its_name(seven, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lacks = r"tiny-7 has no modality 'imagebind' \(it has: rgb, depth, normal, semseg, clip, det, caption\)"
    with pytest.raises(UnknownModality, match=lacks):
        am.load("tiny-7", modalities=["rgb", "imagebind"])
    with pytest.raises(ConfigError, match="modalities is empty"):
        am.load("tiny-7", modalities=[])
    with pytest.raises(GenerationError, match="tiny-7 does not make 'imagebind' from pictures; it makes: caption, "):
        load_labeler(find_labeler("tiny-7:imagebind"), "cpu")
    assert command("generate", "caption=a dog", "--to", "imagebind", "--model", "tiny-7", "--out", "out") == 2
    assert "tiny-7 has no modality 'imagebind' (there are: rgb, depth" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_some_of_the_seven_are_loaded(seven):
    listed = [name for name in STORED["modalities"] if name in ("rgb", "depth")]
    for asked in (listed, listed[::-1]):
        assert [each.name for each in am.load("tiny-7", modalities=asked).modalities] == listed


def test_it_is_listed_with_what_it_takes(capsys):
    assert command("models", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["tiny-7"] == {**rows["tiny"], "name": "tiny-7", "modalities": list(SEVEN)}
    assert rows["tiny"]["modalities"] is None and rows["tiny"]["status"] == "installed"
    assert command("models") == 0
    assert ", ".join(SEVEN) in capsys.readouterr().out


def test_what_it_saves_is_a_checkpoint_of_seven(seven, tmp_path):
    seven.save_pretrained(tmp_path / "saved")
    assert {each.name for each in am.load(tmp_path / "saved").modalities} == set(SEVEN)
