"""The critic that learns beside a tokenizer, alone and in the training of a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from anymodal_scenes import write
from small_runs import GRID, STEPS, VIT, trained_tokenizer
from torch import Tensor

from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.config import structure
from anymodal.errors import ConfigError
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.engine import Runtime
from anymodal.training.log import read_log
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.adversarial import Critic, Judged
from anymodal.training.tokenizers.config import AdversarialConfig, TokenizerRun
from anymodal.training.tokenizers.recipe import train_tokenizer
from anymodal.training.tokenizers.run import fit_tokenizer

UNET = {"patch": 4, "channels": 32, "multipliers": [1], "blocks": 1}
KEYS = {"settings": GRID, "encoder": VIT, "decoder": VIT, "adversarial": {"widths": [8, 8]}}


def small(channels: int = 3) -> VQTokenizer:
    torch.manual_seed(0)
    vit = ViTConfig(dim=16, depth=1, heads=2, patch=8)
    quantizer = CosineConfig(size=8, latent=4)
    return VQTokenizer(TokenizerConfig("vit", channels, vit, vit, quantizer, image_size=16))


def grads(module: torch.nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


def test_neither_side_learns_what_the_other_one_wants() -> None:
    judged = Judged(small(), AdversarialConfig(widths=(8, 8)))
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    _, judgement = judged(x)
    judgement.critic.backward()
    assert grads(judged.tokenizer) == 0 and grads(judged.critic) > 0
    for wish in ("fooled", "features"):
        judged.zero_grad()
        getattr(judged(x)[1], wish).backward()
        assert grads(judged.critic) == 0 and grads(judged.tokenizer.decoder) > 0


def test_the_critic_scores_patches_and_no_weight_stretches_them() -> None:
    critic = Critic(3, (8, 16))
    for _ in range(30):
        scores = critic(torch.rand(2, 3, 32, 32))
    assert scores.patches.shape == (2, 1, 8, 8) and [f.shape[1] for f in scores.features] == [8, 16]
    for layer in (*critic.halvings, critic.score):
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) == pytest.approx(1, abs=0.05)


def contrast(adversarial: AdversarialConfig | None) -> float:
    """How far from gray the pictures are of a decoder that learned signs which its codes do not tell."""

    def batches() -> Any:
        generator = torch.Generator().manual_seed(1)
        while True:
            yield torch.randint(0, 2, (8, 1, 16, 16), generator=generator).float() * 2 - 1

    tokenizer = small(channels=1)
    settings = TrainingSettings(steps=150, batch_size=8, lr=3e-3, log_every=50, save_every=1000)
    fit_tokenizer(tokenizer, batches(), "mse", settings, runtime=Runtime(device="cpu"), adversarial=adversarial)
    x: Tensor = next(batches())
    return float(tokenizer.decode(tokenizer.encode(x)).abs().mean())


def test_pictures_become_sharp_where_codes_do_not_say_what_they_are() -> None:
    plain, judged = contrast(None), contrast(AdversarialConfig(weight=1.0, features=0.0, widths=(16,)))
    assert plain < 0.25 and judged > 2 * plain


def test_a_run_logs_both_sides_keeps_no_critic_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "scenes", 8, seed=1, size=32, workers=1)
    whole = trained_tokenizer(tmp_path / "scenes", tmp_path / "whole", modality="rgb", **KEYS)
    for record in read_log(tmp_path / "whole/runs/rgb/log.jsonl"):
        parts = record["reconstruction"] + record["commitment"] + record["critic"]
        parts += 0.01 * record["fooled"] + 0.1 * record["features"]
        assert record["critic"] > 0 and record["loss"] == pytest.approx(parts, rel=1e-4)
    state = load_tokenizer(whole).state_dict()
    assert not [name for name in state if "critic" in name]

    content = {"modality": "rgb", "data": str(tmp_path / "scenes"), **KEYS}
    stopped = {**STEPS, "max_minutes": 1e-9}
    config = structure({**content, "training": stopped}, TokenizerRun, "a test")
    assert train_tokenizer(config, tmp_path / "parts") is None
    config = structure({**content, "training": STEPS}, TokenizerRun, "a test")
    resumed = load_tokenizer(train_tokenizer(config, tmp_path / "parts", resume=True)).state_dict()
    assert all(torch.equal(state[name], resumed[name]) for name in state)


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ({"modality": "semseg"}, "judges channels of pixels, which 'semseg' does not have"),
        ({"adversarial": {"widths": [8] * 6}}, "halve the sides 6 times, too often for pictures of 32 pixels"),
        ({"adversarial": {"widths": []}}, "widths"),
        ({"adversarial": {"weight": 0}}, "weight"),
        (
            {"modality": "normal", "decoder": None, "unet": UNET, "noise": {"prediction": "v_prediction"}},
            "set noise.prediction to sample",
        ),
    ],
)
def test_what_a_critic_cannot_judge_is_refused(keys: dict[str, Any], hint: str, tmp_path: Path) -> None:
    write(tmp_path / "scenes", 2, seed=1, size=32, workers=1)
    content = {"modality": "rgb", "data": str(tmp_path / "scenes"), "training": STEPS, **KEYS, **keys}
    content = {key: value for key, value in content.items() if value is not None}
    with pytest.raises(ConfigError, match=hint):
        train_tokenizer(structure(content, TokenizerRun, "a test"), tmp_path / "refused")
