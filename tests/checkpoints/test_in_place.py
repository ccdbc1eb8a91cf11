"""Modalities made in place survive: a checkpoint holds the facts of their family, and reloads without any code."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import command

import anymodal as am
from anymodal.checkpoints.card import model_card
from anymodal.checkpoints.record import Bundle
from anymodal.errors import AnymodalError, CheckpointError, ConfigError, PluginError, UnknownModality
from anymodal.families import KINDS, Kind
from anymodal.families.in_place import made_of, remade, stored
from anymodal.testing.tiny import companion, model_over, tiny_model, vocabulary
from anymodal.testing.values import examples
from anymodal.training.multimodal.config import build_set

RAIN = am.Number(0, 0.0, 50.0, bins=51)
MADE = (
    am.image("planet", channels=6, low=0, high=1e4, about="Reflectance, 0 to 1e4."),
    am.photograph("left_eye"),
    am.edge_map("outline"),
    am.label_map("ground", classes=["soil", "water"], colors=[(90, 60, 30)]),
    am.feature_map("texture"),
    am.vector("spectrum"),
    am.embedding("words"),
    am.signal("pulse", channels=2, unit="mV", silence=0.5, shape=(64,), cell=(8,)),
    am.plain_text("title", keep="all"),
    am.numbers("weather", fields={"rain": RAIN, "days": am.Number(1, step=2)}),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    model = tiny_model(MADE)
    return Path(model.save_pretrained(tmp_path_factory.mktemp("made") / "model"))


@pytest.fixture
def config(saved, tmp_path):
    """The config.json of a copy, as a function that edits it and gives the folder."""
    import shutil

    folder = Path(shutil.copytree(saved, tmp_path / "copy"))

    def edited(change) -> Path:
        content = json.loads((folder / "config.json").read_text())
        change(content["modalities"])
        (folder / "config.json").write_text(json.dumps(content))
        return folder

    return edited


def test_every_family_comes_back_from_a_checkpoint(saved, registry):
    loaded = am.load(saved)
    assert not registry.modalities() and list(loaded.modalities.modalities) == [cls.name for cls in MADE]
    for cls in MADE:
        again = loaded.modalities[cls.name]
        assert made_of(type(again)) == made_of(cls) and again.family == cls.family
        assert again.streams() == tiny_model([cls]).modalities[cls.name].streams() or again.spelled
        for example in examples(again):
            again.accept(example.value)
    assert loaded.modalities["ground"].classes == ("soil", "water")
    assert loaded.modalities["weather"].fields == {"rain": RAIN, "days": am.Number(1, step=2)}
    assert loaded.modalities["planet"].high == 1e4 and type(loaded.modalities["planet"]).__doc__.startswith("Reflect")


def test_a_new_process_generates_from_files_on_the_command_line(saved, tmp_path):
    np.save(tmp_path / "a.npy", np.full((32, 32, 6), 9e3, np.float32))
    run = [sys.executable, "-m", "anymodal", "generate", f"planet={tmp_path / 'a.npy'}", "title=a car"]
    done = subprocess.run(
        [*run, "--to", "ground,weather", "--model", str(saved), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "ground.png").is_file() and (tmp_path / "out" / "weather.json").is_file()


def test_what_is_loaded_is_saved_again_as_it_was(saved, tmp_path):
    am.load(saved).save_pretrained(tmp_path / "again")
    one, two = (json.loads((folder / "config.json").read_text()) for folder in (saved, tmp_path / "again"))
    assert one["modalities"] == two["modalities"]


def test_a_checkpoint_means_its_own_modality_and_not_an_installed_one(registry, tmp_path):
    mine = am.image("depth", channels=2, low=-1, high=5)
    model = tiny_model([mine])
    model.save_pretrained(tmp_path / "m")
    registry.add(am.image("depth", channels=1))
    assert am.load(tmp_path / "m").modalities["depth"].channels == 2


def test_members_of_a_shared_stream_are_kept(tmp_path):
    parts = [am.numbers("first", fields={"x": RAIN})(), am.numbers("second", fields={"y": am.Number(7)})()]
    together = am.ModalitySet([companion(), am.SharedModality("notes", parts)], vocabulary())
    model_over(together).save_pretrained(tmp_path / "m")
    notes = am.load(tmp_path / "m").modalities["notes"]
    assert notes.members["first"].fields == {"x": RAIN} and notes.members["second"].fields == {"y": am.Number(7)}


def test_tokenizers_of_a_notebook_serve_a_training_configuration(saved):
    together = build_set({"planet": {}, "ground": {}}, saved)
    assert together["planet"].channels == 6 and together["planet"].tokenizer is not None
    with pytest.raises(UnknownModality, match="a class of its author's own"):
        build_set({"never_made": {}}, saved)


def test_the_card_describes_them(saved):
    loaded = am.load(saved)
    card = model_card(Bundle(loaded.modalities, loaded.transformer, loaded.about), "me/planets")
    assert "`planet`: Reflectance, 0 to 1e4. Image: channels 6, low 0, high 10000" in card
    assert "`ground`: Label map: classes 2 (soil, water)" in card and "Settings: length 48" in card
    assert "`pip install anymodal`" in card
    assert card == (saved / "README.md").read_text().replace(str(saved), "me/planets").replace("# model", "# planets")


def test_code_of_a_notebook_is_not_stored_and_the_way_out_is_named(tmp_path):
    class Planet(MADE[0]):
        def show(self, value, size=256):
            raise NotImplementedError

    tiny_model([Planet]).save_pretrained(tmp_path / "m")
    with pytest.raises(UnknownModality, match=r"a class of its author's own: run the code .*am\.registry\(\)\.add"):
        am.load(tmp_path / "m")


# Hostile configs.

BAD = {
    "an unknown family": ({"family": "os"}, "no family 'os'"),
    "a module": ({"family": "os:system"}, "no family 'os:system'"),
    "no family": ({}, "a family is a name"),
    "an unknown fact": ({"family": "image", "dtyp": "uint8"}, "did you mean 'dtype'"),
    "a setting as a fact": ({"family": "image", "size": 3}, "unknown key 'size'"),
    "an attribute as a fact": ({"family": "image", "preprocess": "x"}, "unknown key 'preprocess'"),
    "no channels": ({"family": "image", "channels": 0}, "from 1 to 65536"),
    "many channels": ({"family": "image", "channels": 10**12}, "from 1 to 65536"),
    "another type": ({"family": "image", "channels": "6"}, "whole number"),
    "an empty range": ({"family": "image", "low": 5.0, "high": 5.0}, "above low"),
    "an endless range": ({"family": "image", "high": float("inf")}, "finite"),
    "words without end": ({"family": "image", "about": "x" * 10**6}, "at most 1000 characters"),
    "a terminal's orders": ({"family": "image", "about": "\x1b[2J"}, "one line of text"),
}


@pytest.mark.parametrize("case", BAD)
def test_facts_are_checked_as_any_configuration_is(config, case):
    facts, words = BAD[case]
    folder = config(lambda records: records["planet"].update(made={"planet": facts}))
    with pytest.raises(CheckpointError, match=words) as caught:
        am.load(folder)
    assert len(str(caught.value)) < 1300
    assert "title" in am.load(folder, modalities=["title"]).modalities, "the others are loaded all the same"
    assert command("generate", "title=a", "--to", "planet", "--model", folder) == 2


def test_settings_are_those_of_the_family(config):
    folder = config(lambda records: records["planet"]["settings"].update(tokenizer="evil"))
    with pytest.raises(PluginError, match="has no setting 'tokenizer'"):
        am.load(folder)


@pytest.mark.parametrize("name", ["Planet", "../planet", "a-b", "", "x" * 65, "ä"])
def test_names_are_small_letters(name):
    with pytest.raises(PluginError, match="must match"):
        am.image(name)


KEYS = st.sampled_from(["family", "classes", "fields", "low", "high", "keep", "colors", "about", "channels", "dtype"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=9,
)


@settings(max_examples=60)
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(KEYS, JSON))
def test_any_facts_make_a_class_or_an_error_of_ours(family, facts):
    try:
        cls = remade({"family": family, **facts}, "odd", "here")
        cls.validate()
    except AnymodalError:
        return
    assert remade(json.loads(json.dumps(stored(made_of(cls)))), "odd", "here").__doc__ == cls.__doc__


def test_others_can_add_a_family(tmp_path):
    class Tide(am.ImageModality):
        """Water, meters."""

        moon: str = ""

    @KINDS.add
    @attrs.frozen(kw_only=True)
    class TideKind(Kind):
        base = Tide
        family: str = attrs.field(init=False, default="tide")
        moon: str = "full"

    try:
        cls = TideKind(moon="new").make("flood", size=64)
        tiny_model([cls]).save_pretrained(tmp_path / "m")
        again = am.load(tmp_path / "m").modalities["flood"]
        assert isinstance(again, Tide) and again.moon == "new"
    finally:
        KINDS.remove("tide")
    with pytest.raises(CheckpointError, match="no family 'tide'"):
        am.load(tmp_path / "m")


# Pickles, for processes that read data.


def test_instances_are_pickled_by_their_facts():
    modalities = [tiny_model([cls]).modalities[cls.name] for cls in MADE]
    data = pickle.dumps(modalities)
    assert [type(each) for each in pickle.loads(data)] == list(MADE)
    code = "import sys, pickle; print([(repr(m), m.tokenizer is not None) for m in pickle.load(sys.stdin.buffer)])"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str([(repr(m), m.tokenizer is not None) for m in modalities])


def test_defaults_of_a_class_are_checked():
    assert am.image("planet", size=64, larger=[128]).larger == (128,)
    with pytest.raises(ConfigError, match="does not split into patches"):
        am.image("planet", size=65)
    with pytest.raises(PluginError, match="did you mean 'patch'"):
        am.image("planet", pach=8)
