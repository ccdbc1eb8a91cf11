"""Damaged, hostile and half-written checkpoints are refused by name, whoever made them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_made import same
from safetensors.torch import load_file, save_file

import anymodal as am
from anymodal.errors import CheckpointError
from anymodal.tokenizers.config import ViTConfig


def change(folder: Path, edit: Callable[[dict], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))


def lie(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + path.read_bytes()[8:])


def pickled(folder: Path) -> None:
    torch.save({"a": torch.zeros(2)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lie, "not a whole safetensors file"),
        (pickled, "is a pickle, which may run code"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickles, are not read"),
        (lambda f: change(f, lambda c: c["domains_in"].append("tok_sonar@224")), "'sonar' of its own needs"),
        (lambda f: change(f, lambda c: c.pop("domains_in")), "does not describe"),
        (lambda f: change(f, lambda c: c.update(act_layer="Mish")), "act_layer must be one of"),
        (lambda f: change(f, lambda c: c.update(dim=12)), "its config says"),
        (lambda f: (f / "config.json").write_text('{"enc_type": "vit_b_enc"}'), "tokenizer of one modality"),
    ],
)  # fmt: skip
def test_damage_is_named(published_copy, damage, words):
    damage(published_copy)
    with pytest.raises(CheckpointError, match=words):
        am.load(published_copy)


def test_a_pickle_beside_a_model_and_a_file_alone(published_copy):
    pickled(published_copy)
    with pytest.raises(CheckpointError, match="is a pickle"):
        am.load(published_copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="neither a preset nor a folder"):
        am.load(str(published_copy / "gone.safetensors"))


def test_weights_that_are_not_finite_are_warned_of(published_copy):
    path = published_copy / "model.safetensors"
    state = load_file(path)
    state["encoder.0.mlp.fc1.weight"][0, 0] = float("nan")
    save_file(state, path)
    with pytest.warns(UserWarning, match=r"'encoder\.0\.mlp\.fc1\.weight' in .* holds NaN or infinity"):
        am.load(published_copy)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "must hold a 'weight_map'"),
        ({"weight_map": {"a": "../model.safetensors"}}, "shards are .safetensors files beside it"),
        ({"weight_map": {"query": "model-00001-of-00002.safetensors"}}, "has no tensor|no such file"),
    ],
)
def test_a_damaged_index_is_named(checkpoint, tmp_path, index, words):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=words):
        am.load(folder)


def test_shards_and_single_files_replace_each_other(small_model, tmp_path):
    folder = small_model.save_pretrained(tmp_path, max_shard_size="50KB")
    for path in folder.glob("model-*.safetensors"):
        assert path.stat().st_size < 60_000 or len(load_file(path)) == 1
    assert same(am.load(folder).transformer, small_model.transformer)
    small_model.save_pretrained(folder)
    assert sorted(p.name for p in folder.glob("model*")) == ["model.safetensors"]
    assert same(am.load(folder).transformer, small_model.transformer)
    with pytest.raises(am.ConfigError, match="a size is"):
        small_model.save_pretrained(folder, max_shard_size="big")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model dim", 2**70),
        ("model encoder_depth", 2**70),
        ("model registers", -1),
        ("model mlp_ratio", -1),
        ("modalities depth settings codebook", 10**400),
        ("modalities depth settings high", 10**400),
    ],
)
def test_impossible_numbers_of_a_config_are_refused_at_once(checkpoint, tmp_path, place, value):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))

    def edit(config: dict) -> None:
        *outer, last = place.split()
        for key in outer:
            config = config[key]
        config[last] = value

    change(folder, edit)
    with pytest.raises(am.AnymodalError, match=place.split()[-1]):
        am.load(folder)


@pytest.mark.parametrize(("name", "value"), [("depth", 2**70), ("dim", 2**70), ("depth", 1001)])
def test_impossible_numbers_of_a_tokenizer_are_refused_at_once(name, value):
    with pytest.raises(am.ConfigError, match=f"{name} must be"):
        ViTConfig(**{"dim": 16, "depth": 1, "heads": 1, "patch": 8, name: value})
