"""`anymodal train-tokenizer` with every quantizer, and with those that others add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import GRID, STEPS, VIT, command, installed, lines, loaded, model_config, trained_tokenizer

import anymodal as am
from anymodal.config import structure
from anymodal.errors import ConfigError
from anymodal.tokenizers.quantizers.config import QUANTIZERS
from anymodal.training.tokenizers.batches import source_of
from anymodal.training.tokenizers.config import TokenizerRun
from anymodal.training.tokenizers.recipe import train_tokenizer


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and places at 32 pixels."""
    root = tmp_path_factory.mktemp("scenes")
    assert command("scenes", "--count", 24, "--size", 32, "--out", root, "--seed", 1) == 0
    return root


def config(data: Path, **keys: Any) -> TokenizerRun:
    return structure({"data": str(data), "training": STEPS, **keys}, TokenizerRun, "a test")


CHOSEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fsq": ({"codebook": 240}, {"kind": "fsq", "levels": [8, 6, 5]}),
    "lfq": ({"codebook": 256}, {"kind": "lfq"}),
    "residual": ({"codebook": 32, "codebooks": 2}, {"kind": "residual"}),
    "product": ({"codebook": 32, "codebooks": 2}, {"kind": "product"}),
}


@pytest.mark.parametrize("kind", CHOSEN)
def test_every_quantizer_learns_pictures_inside_a_modality(kind: str, scenes: Path, tmp_path: Path) -> None:
    settings, quantizer = CHOSEN[kind]
    steps = {**STEPS, "steps": 80, "batch_size": 16, "lr": 3e-3, "schedule": {"warmup_steps": 5}, "log_every": 10}
    keys = {"settings": {**GRID, **settings}, "quantizer": quantizer, "encoder": VIT, "decoder": VIT, "training": steps}
    modality = loaded(trained_tokenizer(scenes, tmp_path, modality="rgb", **keys))
    records = lines(tmp_path, "rgb")
    assert records[-1]["reconstruction"] < 0.75 * records[0]["reconstruction"]
    assert records[-1]["usage"] > 0.02 and records[-1]["perplexity"] > 2
    quantizer_config = modality.tokenizer.config.quantizer
    assert quantizer_config.kind == kind and modality.latent == quantizer_config.latent  # type: ignore[attr-defined]
    (space,) = [stream.space for stream in modality.streams() if stream.name == "rgb"]
    assert space.length == 16 * settings.get("codebooks", 1) and space.size == settings["codebook"]
    folder = source_of(str(scenes), modality)
    values = [folder.read(index)["rgb"] for index in range(len(folder))]
    ids = modality.tokenize(values)["rgb"]
    assert all(each.shape == (space.length,) and each.min() >= 0 and each.max() < space.size for each in ids)
    gray = np.mean([np.abs(value.astype(float) - np.mean(values)).mean() for value in values])
    assert modality.score(modality.detokenize(ids), values)["mae"] < gray
    shares = [np.eye(space.size, dtype=np.float32)[each] for each in ids[:1]]
    assert np.abs(modality.expect(shares)[0].astype(float) - modality.detokenize(ids[:1])[0]).max() <= 1


def test_a_dataset_is_tokenized_with_several_ids_a_place(scenes: Path, tmp_path: Path) -> None:
    settings, quantizer = CHOSEN["residual"]
    keys = {"settings": {**GRID, **settings}, "quantizer": quantizer, "encoder": VIT, "decoder": VIT}
    trained_tokenizer(scenes, tmp_path, modality="rgb", **keys)
    components = [{"inputs": {"rgb": 1}, "targets": {"rgb": 1}}]
    model = model_config(tmp_path / "model.yaml", {"rgb": {}}, components, tokenizers=str(tmp_path))
    assert command("tokenize", scenes, "--config", model, "--out", tmp_path / "tokens", "--workers", 1) == 0
    assert command("train", model, "--out", tmp_path / "run") == 0
    loaded_model = am.load(tmp_path / "run" / "model")
    generated = loaded_model.generate({}, targets=["rgb"], seed=0)["rgb"]
    assert generated.shape == (32, 32, 3)
    values = {"rgb": generated}
    assert loaded_model.detokenize(loaded_model.tokenize(values))["rgb"].shape == (32, 32, 3)


SIGNS = '''
"""A quantizer of another distribution: the id is the signs of a latent, read as bits."""

import attrs
import torch

from anymodal.tokenizers.quantizers.base import Quantized, Quantizer
from anymodal.tokenizers.quantizers.config import QuantizerConfig


@attrs.frozen(kw_only=True)
class Added(QuantizerConfig):
    kind: str = attrs.field(init=False, default="signs")
    pull: float = 0.25

    def build(self):
        return Signs(self.latent, self.pull)


class Signs(Quantizer):
    def __init__(self, latent, pull):
        super().__init__()
        self.size, self.pull = 2**latent, pull
        self.register_buffer("bits", 2 ** torch.arange(latent))

    def forward(self, z):
        ids = ((z > 0) * self.bits).sum(-1)
        codes = self.lookup(ids)
        return Quantized(z + (codes - z).detach(), ids, self.pull * (z - codes).square().mean())

    def lookup(self, ids):
        return ((ids[..., None] & self.bits) > 0).float() * 2 - 1

    def mean(self, shares):
        return shares.float() @ self.lookup(torch.arange(self.size, device=shares.device))
'''


def test_another_distribution_adds_a_quantizer(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "signs", "anymodal.quantizers", "signs", SIGNS)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        keys = {"settings": {**GRID, "codebook": 256, "latent": 8}, "encoder": VIT, "decoder": VIT}
        folder = trained_tokenizer(scenes, tmp_path, modality="rgb", **keys, quantizer={"kind": "signs", "pull": 0.5})
        modality = loaded(folder)
        made = modality.tokenizer.config.quantizer
        assert (made.kind, made.pull, made.size) == ("signs", 0.5, 256)
        ids = modality.tokenize([np.zeros((32, 32, 3), np.uint8)])["rgb"]
        assert 0 <= ids[0].min() <= ids[0].max() < 256 and modality.detokenize(ids)[0].shape == (32, 32, 3)
        with pytest.raises(ConfigError, match="the kind 'signs' has no 'push'; did you mean 'pull'"):
            config(scenes, modality="rgb", quantizer={"kind": "signs", "push": 1})
        with pytest.raises(ConfigError, match="size is among the settings of the modality"):
            config(scenes, modality="rgb", quantizer={"kind": "signs", "size": 256})
    finally:
        QUANTIZERS.remove("signs")


def test_levels_that_do_not_fit_the_codebook_say_what_would(scenes: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"settings": GRID, "quantizer": {"kind": "fsq", "levels": [8, 5, 5]}}
    with pytest.raises(ConfigError, match="8 x 5 x 5 make 200 codes, not the size 32"):
        train_tokenizer(config(scenes, modality="rgb", encoder=VIT, decoder=VIT, **keys), tmp_path)
