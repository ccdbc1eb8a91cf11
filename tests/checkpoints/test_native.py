"""Checkpoints: what is saved comes back, parts load alone, and damaged ones say what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import anymodal as am
from anymodal.errors import CheckpointError, ConfigError, UnknownModality
from anymodal.plugins.registry import Registry, use


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def test_a_saved_model_gives_the_same_answers(small_model, checkpoint, picture):
    loaded = am.load(checkpoint)
    ours, theirs = (m.generate({"rgb": picture}, seed=3, temperature=1.0) for m in (small_model, loaded))
    assert all(np.array_equal(ours.tokens[name], theirs.tokens[name]) for name in ours)
    assert np.array_equal(ours["depth"], theirs["depth"])


def test_a_subset_loads_alone_and_agrees(small_model, checkpoint, picture):
    part = am.load(checkpoint, modalities=["rgb", "depth"])
    assert list(part.modalities.modalities) == ["depth", "rgb"]
    ours, theirs = (m.generate({"rgb": picture}, "depth", temperature=0.0) for m in (small_model, part))
    assert np.array_equal(ours["depth"], theirs["depth"])
    count = lambda m: sum(p.numel() for p in m.transformer.parameters())  # noqa: E731
    assert count(part) < count(small_model)


def test_half_precision_is_half_the_size_and_close(small_model, tmp_path, picture):
    folder = small_model.save_pretrained(tmp_path / "half", dtype="float16")
    loaded = am.load(folder)
    assert load_file(folder / "model.safetensors")["query"].dtype == torch.float16
    assert next(loaded.transformer.parameters()).dtype == torch.float32
    ours, theirs = (m.generate({"rgb": picture}, "depth", temperature=0.0) for m in (small_model, loaded))
    assert np.mean(ours.tokens["depth"] == theirs.tokens["depth"]) > 0.8


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_bfloat16_models_generate(checkpoint, picture, dtype):
    model = am.load(checkpoint, dtype=dtype, device=torch.device("cpu"))
    assert next(model.transformer.parameters()).dtype == torch.bfloat16
    out = model.generate({"rgb": picture}, ["depth", "caption"])
    assert np.isfinite(out["depth"]).all()


def test_tokens_round_trip_through_a_model(small_model, picture):
    tokens = small_model.tokenize({"rgb": picture, "caption": "a red car on a road"})
    assert tokens["rgb.pixels"].shape == (16, 192) and tokens["rgb"].shape == (16,)
    values = small_model.detokenize(tokens)
    assert values["caption"] == "a red car on a road" and values["rgb"].shape == (32, 32, 3)


def edit(folder: Path, change) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def drop(folder: Path, name: str, replacement: torch.Tensor | None = None) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors[name]
    save_file(tensors | ({name: replacement} if replacement is not None else {}), path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: drop(f, "encoder.0.attn.qkv.weight"), "has no tensor 'encoder.0.attn.qkv.weight'"),
        (lambda f: drop(f, "encoder_norm.weight", torch.zeros(5)), r"'encoder_norm.weight'.*\(5,\).*\(32,\)"),
        (lambda f: drop(f / "modalities" / "depth", "quant_proj.bias"), "has no tensor 'quant_proj.bias'"),
        (lambda f: (f / "model.safetensors").unlink(), "no such file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "not a whole safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-50]), "not a whole"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "must hold one JSON object"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "not describe an anymodal.*'bert'"),
        (lambda f: (f / "config.json").unlink(), "without config.json"),
        (lambda f: (f / "vocabulary.json").write_text("{}"), "not a vocabulary"),
        (lambda f: edit(f, lambda c: c.update(format_version=99)), "update anymodal"),
        (lambda f: edit(f, lambda c: c["model"].update(dmi=3)), "unknown key 'model.dmi'; did you mean 'dim'"),
        (lambda f: edit(f, lambda c: c["model"].update(dim="wide")), "whole number"),
        (lambda f: edit(f, lambda c: c["modalities"]["rgb"]["settings"].update(size=16)), "does not fit"),
    ],
)  # fmt: skip
def test_damage_is_named(copy, damage, words):
    damage(copy)
    with pytest.raises((CheckpointError, ConfigError), match=words):
        am.load(copy)


def test_the_folder_of_a_run_says_where_its_model_is(copy, tmp_path):
    (tmp_path / "run").mkdir()
    copy.rename(tmp_path / "run" / "model")
    with pytest.raises(CheckpointError, match=r"run is a folder without .*; the model of a run is .*run/model$"):
        am.load(tmp_path / "run")


def test_only_a_given_tokenizer_takes_the_place_of_one_in_the_checkpoint(checkpoint, tmp_path, monkeypatch):
    shutil.copytree(checkpoint / "modalities/rgb", tmp_path / "depth")
    monkeypatch.setenv("ANYMODAL_TOKENIZERS", str(tmp_path))
    for given in (None, {"rgb": checkpoint / "modalities/rgb"}):
        assert am.load(checkpoint, modalities=["rgb", "depth"], tokenizers=given).modalities["depth"].pending is None
    pending = am.load(checkpoint, modalities=["rgb", "depth"], tokenizers=tmp_path).modalities["depth"].pending
    assert pending.place == str(tmp_path / "depth")


def test_a_missing_plugin_is_named_unless_it_is_not_asked_for(copy):
    def add(config):
        record = {"distribution": "anymodal-sonar", "version": "1", "settings": {}, "streams": []}
        config["modalities"]["sonar"] = record

    edit(copy, add)
    with pytest.raises(UnknownModality, match="package 'anymodal-sonar' 1, which is not in our directory"):
        am.load(copy)
    assert "depth" in am.load(copy, modalities=["depth"]).modalities


def test_all_missing_plugins_are_named_at_once_and_what_loads_without_them(copy):
    def add(config):
        for name in ("sonar", "radar"):
            record = {"distribution": f"anymodal-{name}", "version": "1", "settings": {}, "streams": []}
            config["modalities"][name] = record

    edit(copy, add)
    with pytest.raises(UnknownModality, match="needs the modality 'sonar'") as error:
        am.load(copy)
    assert "'radar' is missing too, of 'anymodal-radar'; modalities=['depth'," in str(error.value)
    assert str(error.value).endswith("] loads it without")


def test_a_missing_tiny_says_how_to_get_it():
    with use(Registry(entries=[])), pytest.raises(CheckpointError, match=r"pip install 'anymodal\[tiny\]'$"):
        am.load("tiny")


def test_unknown_names_are_refused(checkpoint):
    with pytest.raises(CheckpointError, match="neither a preset"):
        am.load("tyni")
    with pytest.raises(UnknownModality, match="did you mean 'depth'"):
        am.load(checkpoint, modalities=["dpeth"])
    with pytest.raises(ConfigError, match="only repositories on the Hub have revisions"):
        am.load(checkpoint, revision="main")
    with pytest.raises(ConfigError, match="dtype"):
        am.load(checkpoint, dtype="int8")
    with pytest.raises(ConfigError, match=r"dtype must be one of .*, got torch\.int8"):
        am.load(checkpoint, dtype=torch.int8)


def test_saving_where_it_is_not_possible_leaves_nothing(small_model, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("here")
    with pytest.raises(am.DataError):
        small_model.save_pretrained(blocked / "model")
    assert blocked.read_text() == "here"


def test_a_checkpoint_brings_its_own_sampling_defaults(copy):
    edit(copy, lambda c: c["modalities"]["depth"].update(sampling={"grounded": {"steps": 5, "guidance": 1.0}}))
    depth = am.load(copy).modalities["depth"]
    assert depth.tuned_sampling(True).steps == 5 and depth.tuned_sampling(False) == depth.sampling(False)
    edit(copy, lambda c: c["modalities"]["depth"].update(sampling={"free": {"stpes": 5}}))
    with pytest.raises(CheckpointError, match="sampling options for 'depth'"):
        am.load(copy)
