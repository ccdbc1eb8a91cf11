"""Closed-form values of the published decoders: with formulas for weights, they give the numbers that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from anymodal.checkpoints.formats.fourm.tokenizer_config import PRESETS
from anymodal.checkpoints.formats.fourm.tokenizers import tokenizer_keys
from anymodal.tokenizers.config import (
    NoiseConfig,
    TokenizerConfig,
    UNetConfig,
    UViTConfig,
    ViTConfig,
)
from anymodal.tokenizers.diffusion import DiffusionTokenizer, build
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.solvers import Denoising, Solver


def sine(count: int, pace: float) -> Tensor:
    return torch.sin(pace * torch.arange(count, dtype=torch.float64)).float()


def filled(preset: str, channels: int) -> DiffusionTokenizer:
    """The decoder with tensor number n, in the order of published names, filled with sin(0.37 i + 0.11 n)."""
    vit = ViTConfig(dim=16, depth=1, heads=2, patch=16)
    decoder = PRESETS[preset]
    assert isinstance(decoder, UNetConfig | UViTConfig)
    quantizer = CosineConfig(size=8, latent=32)
    config = TokenizerConfig("vit", channels, vit, decoder, quantizer, noise=NoiseConfig(clip=False))
    with torch.device("meta"):
        tokenizer = build(config).eval()
    assert isinstance(tokenizer, DiffusionTokenizer)
    keys = sorted((k for k in tokenizer_keys(tokenizer) if k.name.startswith("decoder.")), key=lambda k: k.name)
    state = {}
    for number, key in enumerate(keys):
        if key.part is None:
            continue
        values = (0.37 * torch.arange(math.prod(key.shape), dtype=torch.float64) + 0.11 * number).sin_()
        values *= 0.02 if len(key.shape) > 1 else 0.1
        values += float(len(key.shape) == 1 and key.name.endswith("weight"))
        mine = tokenizer.get_parameter(key.part)
        state[key.part.removeprefix("decoder.")] = values.float().view(mine.shape)
    tokenizer.decoder.load_state_dict(state, assign=True)
    return tokenizer


def assert_start(values: Tensor, *expected: float) -> None:
    torch.testing.assert_close(values.flatten()[: len(expected)], torch.tensor(expected), rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_the_unet_agrees_with_the_published_architecture() -> None:
    tokenizer = filled("unet_patched", 3)
    x, codes = sine(3 * 64 * 64, 0.05).view(1, 3, 64, 64), sine(32 * 16, 0.2).view(1, 32, 4, 4)
    at_500, at_999 = (tokenizer.decoder(x, torch.tensor([t]), codes) for t in (500, 999))
    assert at_500.mean() == pytest.approx(-0.005494, abs=1e-5)
    assert at_500.abs().mean() == pytest.approx(0.062364, abs=1e-5)
    assert_start(at_500, 0.052763, 0.043817, -0.015365, -0.054571)
    assert_start(at_500.flatten()[-2:], 0.071706, 0.080073)
    assert_start(at_999, 0.052754, 0.043819, -0.015358, -0.054579)
    solver = Solver(tokenizer.noise, Denoising(steps=25))
    first = solver.step(solver.timesteps.index(999), x, at_999, lambda: x)
    assert first.abs().mean() == pytest.approx(0.636704, abs=1e-5)
    assert_start(first, 0.000164, 0.050115, 0.099785, 0.149268)
    later = solver.step(solver.timesteps.index(519), x, at_500, lambda: x)
    assert later.abs().mean() == pytest.approx(0.625933, abs=1e-5)
    assert_start(later, 0.003228, 0.051813, 0.097203, 0.143568)


@torch.no_grad()
def test_the_uvit_agrees_with_the_published_architecture() -> None:
    tokenizer = filled("uvit_b_p4_f16", 1)
    x, codes = sine(64 * 64, 0.05).view(1, 1, 64, 64), sine(32 * 16, 0.2).view(1, 32, 4, 4)
    output = tokenizer.decoder(x, torch.tensor([500]), codes)
    assert output.mean() == pytest.approx(0.047855, abs=1e-5)
    assert output.abs().mean() == pytest.approx(0.076263, abs=1e-5)
    assert_start(output, 0.012283, 0.024289, 0.038773, 0.053774)
    assert_start(output.flatten()[-2:], -0.001363, 0.004613)
