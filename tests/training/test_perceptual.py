"""The loss that compares pictures as a network sees them, alone and in the training of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anymodal_scenes import write
from small_runs import GRID, STEPS, VIT, trained_tokenizer

from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError
from anymodal.training.log import read_log
from anymodal.training.tokenizers.config import PerceptualConfig, TokenizerRun
from anymodal.training.tokenizers.perceptual import PerceptualLoss
from anymodal.training.tokenizers.recipe import train_tokenizer

UNET = {"patch": 4, "channels": 32, "multipliers": [1], "blocks": 1}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Small networks with random weights, saved as transformers saves them."""
    transformers = pytest.importorskip("transformers")

    def saved(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        if kind == "convnext":
            sizes = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "num_channels": 3}
            model = transformers.ConvNextModel(transformers.ConvNextConfig(**sizes))
        elif kind == "clip":
            small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
            vision = {**small, "image_size": 32, "patch_size": 8}
            model = transformers.CLIPModel(transformers.CLIPConfig(text_config=small, vision_config=vision))
        else:
            size = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
            model = transformers.Dinov2Model(transformers.Dinov2Config(image_size=28, patch_size=14, **size))
        model.save_pretrained(folder)
        mean_and_std = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
        transformers.BitImageProcessor(**mean_and_std).save_pretrained(folder)
        return folder

    return saved


@pytest.mark.parametrize("kind", ["convnext", "dinov2", "clip"])
def test_a_network_compares_pictures(kind: str, network: Callable[[str], Path]) -> None:
    place = network(kind)
    loss = PerceptualLoss(PerceptualConfig(network=str(place))).train()
    x = torch.rand(2, 3, 56, 56) * 2 - 1
    assert loss(x, x) == pytest.approx(0, abs=1e-6)
    output, target = (x + 0.3).requires_grad_(), x.clone().requires_grad_()
    distance = loss(output, target)
    distance.backward()
    assert 0 < distance < 4
    assert output.grad is not None and output.grad.abs().sum() > 0 and target.grad is None
    assert not any(p.requires_grad or p.grad is not None for p in loss.parameters())
    assert not loss.network.training
    assert loss.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    larger = PerceptualLoss(PerceptualConfig(network=str(place), size=70, layers=(1,)))
    assert larger(x + 0.3, x) > 0
    with pytest.raises(ConfigError, match="names 9, but"):
        PerceptualLoss(PerceptualConfig(network=str(place), layers=(9,)))


def test_a_run_has_it_as_a_second_loss_and_keeps_none_of_the_network(
    network: Callable[[str], Path], tmp_path: Path
) -> None:
    write(tmp_path / "scenes", 8, seed=1, size=32, workers=1)
    second = {"network": str(network("convnext")), "weight": 0.5}
    keys = {"settings": GRID, "encoder": VIT, "decoder": VIT, "perceptual": second}
    tokenizer = trained_tokenizer(tmp_path / "scenes", tmp_path, modality="rgb", **keys)
    for record in read_log(tmp_path / "runs/rgb/log.jsonl"):
        parts = record["reconstruction"] + record["commitment"] + 0.5 * record["perceptual"]
        assert record["perceptual"] > 0 and record["loss"] == pytest.approx(parts, rel=1e-5)
    assert not [name for name in load_tokenizer(tokenizer).state_dict() if "network" in name]


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ({"modality": "depth", "settings": GRID, "decoder": VIT}, "three channels, which 'depth' does not have"),
        ({"modality": "semseg", "settings": {**GRID, "channels": 4}, "decoder": VIT}, "three channels"),
        (
            {"modality": "normal", "settings": GRID, "unet": UNET, "noise": {"prediction": "v_prediction"}},
            "set noise.prediction to sample",
        ),
    ],
)
def test_what_shows_no_pictures_is_refused(
    keys: dict[str, Any], hint: str, network: Callable[[str], Path], tmp_path: Path
) -> None:
    second = {"network": str(network("convnext")), "weight": 0.5}
    write(tmp_path / "scenes", 2, seed=1, size=32, workers=1)
    content = {"data": str(tmp_path / "scenes"), "training": STEPS, "encoder": VIT, "perceptual": second, **keys}
    with pytest.raises(ConfigError, match=hint):
        train_tokenizer(structure(content, TokenizerRun, "a test"), tmp_path / "refused")


def test_a_network_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="cannot load the perceptual network"):
        PerceptualLoss(PerceptualConfig(network=str(tmp_path)))
    monkeypatch.setattr("anymodal.training.tokenizers.perceptual.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'anymodal\[label\]'"):
        PerceptualLoss(PerceptualConfig(network=str(tmp_path)))
