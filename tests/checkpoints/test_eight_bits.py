"""Weights in 8 bits: how near they come back, how small files are, and what of damaged ones is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import anymodal as am
from anymodal.checkpoints.weights import WeightFile, save_weights
from anymodal.errors import CheckpointError, ConfigError

TOLERANCE = 1 / 254 * (1 + 1e-5)  # of the largest magnitude in a row


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.sampled_from([(16,), (40,), (2, 3, 3)]), st.floats(-35, 35), st.integers(0, 2**31))
def test_every_number_comes_back_within_its_tolerance(tmp_path_factory, rows, rest, size, seed):
    rng = torch.Generator().manual_seed(seed)
    tensor = torch.randn(rows, *rest, generator=rng) * 10**size * (torch.rand(rows, *[1] * len(rest)) > 0.2)
    folder = tmp_path_factory.mktemp("bits")
    save_weights([("a", tensor)], folder, torch.int8)
    with WeightFile.single(folder / "model.safetensors") as file:
        assert file.keys() == ["a"]
        back = file.rows("a")
        assert back is not None and back.shape == tensor.shape
        largest = tensor.flatten(1).abs().amax(1).view(-1, *[1] * len(rest))
        assert ((back[:] - tensor).abs() <= TOLERANCE * largest + 1e-37).all()
        assert torch.equal(back[rows // 2 :], back[:][rows // 2 :])


@pytest.fixture(scope="module")
def small(small_model, tmp_path_factory) -> Path:
    return small_model.save_pretrained(tmp_path_factory.mktemp("small") / "model", dtype="int8")


def test_a_model_in_8_bits_is_a_quarter_and_close(small_model, checkpoint, small, picture):
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (checkpoint, small)]
    assert sizes[1] < 0.33 * sizes[0]
    loaded = am.load(small)
    ours, theirs = (m.generate({"rgb": picture}, "depth", temperature=0.0) for m in (small_model, loaded))
    assert np.mean(ours.tokens["depth"] == theirs.tokens["depth"]) > 0.7
    assert next(loaded.transformer.parameters()).dtype == torch.float32


def test_a_model_from_8_bits_is_written_to_the_same_bytes(small, tmp_path):
    again = am.load(small).save_pretrained(tmp_path / "again", dtype="int8")
    files = [path.relative_to(small) for path in small.rglob("*.safetensors")]
    assert len(files) > 2
    assert all((again / file).read_bytes() == (small / file).read_bytes() for file in files)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_8_bits_are_as_near_to_weights_of_any_dtype(small, checkpoint, tmp_path, dtype):
    """What a model in half precision holds; what is read from 8 bits in half precision is rounded once more."""
    held = am.load(checkpoint, dtype=dtype)
    folder = held.save_pretrained(tmp_path / "small", dtype="int8")
    mine, whole = held.transformer.state_dict(), am.load(folder).transformer.state_dict()
    read = am.load(folder, dtype=dtype).transformer.state_dict()
    assert mine.keys() == whole.keys() == read.keys()
    for name, weight in mine.items():
        rows = weight.float().reshape(len(weight), -1)
        largest = rows.abs().amax(1, keepdim=True)
        assert ((whole[name].reshape(rows.shape) - rows).abs() <= TOLERANCE * largest).all(), name
        assert read[name].dtype == weight.dtype and torch.equal(read[name], whole[name].to(weight.dtype)), name


def test_ids_of_tokenizers_stay_the_same(small_model, small):
    for name, mine in small_model.modalities.modalities.items():
        if mine.tokenizer is not None:
            theirs = am.load(small, modalities=[name]).modalities[name].tokenizer
            assert theirs.fingerprint() == mine.tokenizer.fingerprint()
    stored = load_file(small / "modalities/depth/model.safetensors")
    assert stored["decoder.out_proj.weight"].dtype == torch.int8 and stored["encoder.proj.weight"].dtype != torch.int8


def test_half_precision_stays_where_it_loses_nothing(tmp_path):
    short = {"half": torch.tensor([0.5, 1.0]), "full": torch.tensor([0.1]), "ids": torch.tensor([3])}
    broken = {"nan": torch.full((2, 16), torch.nan)}
    save_weights((short | broken).items(), tmp_path, torch.int8)
    stored = load_file(tmp_path / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in stored.items()} == {
        "half": torch.float16, "full": torch.float32, "ids": torch.int64, "nan": torch.float32,
    }  # fmt: skip
    assert torch.equal(stored["full"], short["full"])


def test_shards_hold_steps_beside_their_weights(small_model, small, tmp_path):
    folder = small_model.save_pretrained(tmp_path / "shards", dtype="int8", max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    one, many = am.load(small).transformer.state_dict(), am.load(folder).transformer.state_dict()
    assert all(torch.equal(one[name], many[name]) for name in one)


@pytest.mark.parametrize("dtype", ["int8", "float16", None])
def test_the_index_of_shards_says_how_many_bytes_their_tensors_have(small_model, tmp_path, dtype):
    folder = small_model.save_pretrained(tmp_path / "shards", dtype=dtype, max_shard_size="50KB")
    tensors = [tensor for path in folder.glob("model-*.safetensors") for tensor in load_file(path).values()]
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize(
    ("steps", "hint"),
    [
        (torch.ones(3), "its steps are F32 of shape"),
        (torch.ones(10**6), "its steps are F32 of shape"),
        (torch.ones(1, dtype=torch.int32), "its steps are I32"),
        (None, "holds I8, and floats are needed"),
    ],
)
def test_steps_that_do_not_fit_are_refused(small, tmp_path, steps, hint):
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.endswith(".steps") and len(tensors[name]) not in (3, 1))
    del tensors[name]
    save_file(tensors | ({} if steps is None else {name: steps}), path)
    with pytest.raises(CheckpointError, match=hint):
        am.load(folder)


def test_steps_of_no_weight_are_refused(small, tmp_path):
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"nothing.steps": torch.ones(4)}, path)
    with pytest.raises(CheckpointError, match=r"nothing\.steps"):
        am.load(folder)


def test_models_are_not_held_in_8_bits(small, small_model, tmp_path):
    with pytest.raises(ConfigError, match="dtype must be one of float32, float16, bfloat16, got"):
        am.load(small, dtype="int8")
    with pytest.raises(ConfigError, match="files hold float32, float16, bfloat16 or int8, not"):
        small_model.save_pretrained(tmp_path / "m", dtype="int4")
    assert json.loads((small / "config.json").read_text())["format_version"] == 2
