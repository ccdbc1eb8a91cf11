"""Numbers of configs are compared with the headers of weights before memory is taken; a full disk is one error."""

from __future__ import annotations

import json
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import anymodal as am
from anymodal.checkpoints.formats.fourm.tokenizer_config import ViTSize
from anymodal.checkpoints.formats.fourm.tokenizers import load_published_tokenizer, save_published_tokenizer
from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.tokenizers.config import NoiseConfig, TokenizerConfig, UNetConfig, UViTConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig, ResidualConfig

MEMORY = 1_000_000_000  # bytes; none of the refused models comes near
TOKENIZER = "modalities/depth"


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def change(path: Path, place: str, value: Any) -> None:
    """Set a value of a config, such as "model dim"; streams are taken as they follow from the settings."""
    config = json.loads(path.read_text())
    inner = config
    *outer, last = place.split()
    for key in outer:
        inner = inner[key]
    inner[last] = value
    for record in config.get("modalities", {}).values():
        record["streams"] = []
    path.write_text(json.dumps(config))


def retyped(path: Path, name: str, dtype: str) -> None:
    """Let the header say another type for a tensor, of the same size."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header[name]["dtype"] = dtype
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail if the block takes more than MEMORY."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


# Numbers of a config against the header.


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("model mlp_ratio", 1e6, "mlp_ratio"),
        ("model mlp_ratio", 1e4, "its config says|mlp_ratio"),
        ("model dim", 2**20, "mlp_ratio"),
        ("model dim", 2**16, "its config says|too many"),
        ("model encoder_depth", 1000, "states 1002 blocks, and the weights are"),
        ("model encoder_depth", 1, "has a tensor 'encoder.1.* that its config does not explain"),
        ("model registers", 2**20, "registers"),
        ("modalities depth settings codebook", 2**31, "'outputs.depth'|'inputs.depth'|at most"),
        ("modalities depth settings codebooks", 10**6, "depth"),
        ("modalities depth settings size", 10**6, "depth"),
        ("modalities depth settings larger", [10**6], "depth"),
        ("modalities depth position_rows", {"depth": 10**9}, "codes of .* positions, .* of 'depth', are too many"),
        ("modalities caption settings length", 10**9, "'length' of 'caption': expected at most"),
        ("modalities caption settings length", 2**70, "'length' of 'caption': expected at most"),
        ("modalities depth settings size", 1e308, "'size' of 'depth': expected at most"),
        ("modalities depth settings", {"self": 1}, "has no setting 'self'"),
    ],
)
def test_numbers_that_are_not_those_of_the_weights_are_refused_before_memory_is_taken(copy, place, value, words):
    change(copy / "config.json", place, value)
    with bounded_memory(), pytest.raises(am.AnymodalError, match=words):
        am.load(copy)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("tokenizer encoder dim", 65536, "its config says|too large"),
        ("tokenizer encoder depth", 1000, "blocks, and the weights are"),
        ("tokenizer image_size", 2**24, "too large"),
        ("tokenizer quantizer size", 2**24, "its config says"),
        ("tokenizer channels", 2**20, "its config says"),
    ],
)
def test_numbers_of_a_tokenizer_are_compared_before_memory_is_taken(copy, place, value, words):
    change(copy / TOKENIZER / "config.json", place, value)
    with bounded_memory(), pytest.raises(CheckpointError, match=words):
        load_tokenizer(copy / TOKENIZER)


VIT = ViTConfig(dim=64, depth=1, heads=2, patch=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenizerConfig("vit", 3, VIT, VIT, CosineConfig(size=8, latent=4), image_size=16384),
        lambda: UViTConfig(patch=4, widths=(32,), blocks=1, dim=64, depth=1, heads=1, side=16384),
        lambda: UNetConfig(patch=4, channels=32, multipliers=(1,) * 17, blocks=1),
        lambda: UNetConfig(patch=4, channels=32, multipliers=(1,) * 10, blocks=1000),
        lambda: NoiseConfig(timesteps=10**9),
        lambda: ResidualConfig(size=8, latent=4, codebooks=10**6),
    ],
)
def test_numbers_that_no_file_of_weights_bounds_are_bounded_where_they_are_parsed(make):
    with bounded_memory(), pytest.raises(ConfigError):
        make()


# Types of numbers.


@pytest.mark.parametrize("dtype", ["I16", "U16", "I32", "U32", "BOOL", "F8_E4M3"])
@pytest.mark.parametrize("where", ["model.safetensors", f"{TOKENIZER}/model.safetensors"])
def test_weights_are_floats(copy, where, dtype):
    path = copy / where
    state = load_file(path)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point() and tensor.ndim > 1)
    size = {"I16": 2, "U16": 2, "BOOL": 1, "F8_E4M3": 1}.get(dtype, 4)
    state[name] = torch.zeros(state[name].shape, dtype={1: torch.uint8, 2: torch.float16, 4: torch.float32}[size])
    save_file(state, path)
    retyped(path, name, dtype)
    with pytest.raises(CheckpointError, match=f"tensor '{name}' in .* holds {dtype}, and floats are needed"):
        am.load(copy)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_any_float_are_read(copy, small_model, dtype):
    path = copy / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
    found = am.load(copy).transformer.context_proj.weight
    assert torch.allclose(found, small_model.transformer.context_proj.weight, atol=1e-2)


def test_a_truth_value_is_no_float(copy):
    path = copy / TOKENIZER / "model.safetensors"
    state = load_file(path)
    name = next(name for name, tensor in state.items() if tensor.dtype == torch.bool)
    save_file(state | {name: state[name].float()}, path)
    with pytest.raises(CheckpointError, match=f"tensor '{name}' in .* holds F32, and truth values are needed"):
        am.load(copy)


def test_types_in_shards(small_model, tmp_path):
    folder = small_model.save_pretrained(tmp_path, max_shard_size="50KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    retyped(folder / index["context_proj.weight"], "context_proj.weight", "I32")
    with pytest.raises(CheckpointError, match=r"'context_proj\.weight' in .* holds I32"):
        am.load(folder)


def test_types_in_published_files(published_copy, tmp_path):
    retyped(published_copy / "model.safetensors", "decoder_proj_context.weight", "U32")
    with pytest.raises(CheckpointError, match=r"'decoder_proj_context\.weight' in .* holds U32"):
        am.load(published_copy)


def test_types_in_published_tokenizers(checkpoint, tmp_path):
    tokenizer = load_tokenizer(checkpoint / TOKENIZER)
    sides = {"own_enc": tokenizer.config.encoder, "own_dec": tokenizer.config.decoder}
    presets = {name: ViTSize(side.dim, side.depth, side.heads, side.expansion) for name, side in sides.items()}
    folder = save_published_tokenizer(tokenizer, tmp_path / "published", presets)
    assert load_published_tokenizer(folder, presets).config == tokenizer.config
    retyped(folder / "model.safetensors", "quant_proj.weight", "I32")
    with pytest.raises(CheckpointError, match=r"'quant_proj\.weight' in .* holds I32, and floats are needed"):
        load_published_tokenizer(folder, presets)


# Names and values that are no text or number.


@pytest.mark.parametrize("name", ["x" * 300 + ".safetensors", "a\0.safetensors", "a/b.safetensors", "..", "\ud800"])
def test_names_of_shards_are_plain(copy, name):
    names = load_file(copy / "model.safetensors").keys()
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, name)}))
    with pytest.raises(CheckpointError, match=r"shards are \.safetensors files beside it"):
        am.load(copy)


@pytest.mark.parametrize("value", [["SiLU"], {}, None, 1, "x" * 10_000])
def test_an_activation_is_a_name(published_copy, value):
    path = published_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "act_layer": value}))
    with pytest.raises(CheckpointError, match="act_layer must be one of"):
        am.load(published_copy)


# Writing to a full disk.


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may become longer than 20 kB, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


SAVERS: list[Callable[[am.AnyModel, Path], object]] = [
    lambda model, folder: model.save_pretrained(folder),
    lambda model, folder: model.save_pretrained(folder, max_shard_size="100KB"),
]


@pytest.mark.parametrize("save", SAVERS)
def test_a_full_disk_is_one_error_and_leaves_nothing(small_model, tmp_path, full_disk, save):
    with pytest.raises(DataError, match=rf"cannot write .*{tmp_path.name}.*File too large"):
        save(small_model, tmp_path / "model")
    assert not list(tmp_path.rglob("*"))


def test_a_full_disk_leaves_the_older_model(small_model, copy, full_disk):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="cannot write"):
        small_model.save_pretrained(copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == before
