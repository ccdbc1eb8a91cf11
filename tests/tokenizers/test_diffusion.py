"""Tokenizers that decode by denoising: schedules, solvers, decoders, training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import GRID, command, trained_tokenizer
from small_runs import VIT as SIDE
from torch import Tensor

import anymodal as am
from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.config import structure
from anymodal.errors import AnymodalError, ConfigError, SpaceError, ValueProblem
from anymodal.tokenizers.config import (
    SCHEDULES,
    NoiseConfig,
    TokenizerConfig,
    UNetConfig,
    UViTConfig,
    ViTConfig,
)
from anymodal.tokenizers.diffusion import DiffusionTokenizer, build
from anymodal.tokenizers.networks.uvit import CrossAttention
from anymodal.tokenizers.noise import Noise, signal_shares, spaced, threshold
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.solvers import Denoising, Solver
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.log import read_log
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.run import fit_tokenizer

VIT = ViTConfig(dim=16, depth=1, heads=2, patch=8)
UNET = UNetConfig(patch=4, channels=32, multipliers=(1, 2), blocks=1, attention=(2,))
UVIT = UViTConfig(patch=4, widths=(32, 32), blocks=1, dim=32, depth=1, heads=2, side=4, halved=False)
CODES = CosineConfig(size=32, latent=8)
CONFIG = TokenizerConfig("vit", 3, VIT, UNET, CODES, image_size=32, noise=NoiseConfig())
DECODERS = {
    "unet": UNET,
    "uvit": UVIT,
    "uvit halved": attrs.evolve(UVIT, halved=True, side=2),
    "uvit xattn": attrs.evolve(UVIT, conditioning="xattn"),
}


def make(decoder: str = "unet", seed: int = 0, **noise: object) -> DiffusionTokenizer:
    """A tokenizer whose decoder says something: the layers that start at zero are drawn as well."""
    torch.manual_seed(seed)
    config = attrs.evolve(CONFIG, decoder=DECODERS[decoder], noise=NoiseConfig(**noise))  # type: ignore[arg-type]
    tokenizer = build(config).eval()
    assert isinstance(tokenizer, DiffusionTokenizer)
    for parameter in tokenizer.decoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return tokenizer


# Schedules.

schedules = st.one_of(st.sampled_from(SCHEDULES), st.floats(0.1, 5).map(lambda s: f"shifted_cosine:{s:.3f}"))
noises = st.builds(
    NoiseConfig,
    schedule=schedules,
    prediction=st.sampled_from(["sample", "epsilon", "v_prediction"]),
    timesteps=st.integers(20, 1000),
    zero_terminal=st.booleans(),
    clip=st.just(False),
)


@settings(max_examples=60)
@given(noises)
def test_the_share_of_signal_falls_from_nearly_one(config: NoiseConfig) -> None:
    shares = signal_shares(config)
    assert shares.dtype == torch.float32 and shares.shape == (config.timesteps,)
    assert (shares.diff() <= 0).all() and (shares >= 0).all() and shares[0] < 1
    assert shares[0] > 0.9
    if config.zero_terminal or config.schedule.startswith("shifted"):
        assert shares[-1] == 0


@settings(max_examples=60)
@given(noises, st.integers(0, 2**31), st.floats(0.1, 0.9))
def test_a_noisy_picture_comes_apart_into_what_it_was_mixed_of(config: NoiseConfig, seed: int, when: float) -> None:
    noise, t = Noise(config), int(when * config.timesteps)
    if not 0.01 < noise.share(t) < 0.99:
        return
    x, e = torch.randn(2, 1, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    when_B = torch.tensor([t])
    noisy = noise.mix(x, e, when_B)
    clean, rest = noise.parts(noisy, noise.target(x, e, when_B), t)
    torch.testing.assert_close(clean, x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(rest, e, rtol=1e-3, atol=1e-3)
    velocity = noise.velocity(x, e, when_B)
    of_velocity = Noise(attrs.evolve(config, prediction="v_prediction"))
    torch.testing.assert_close(of_velocity.parts(noisy, velocity, t)[1], e, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            "linear",
            [0.99989998, 0.99977934, 0.99779302, 0.89449036, 0.51886058, 0.07524620, 2.6441e-3, 1.0304e-4, 3.6714e-7],
        ),
        (
            "shifted_cosine:0.5",
            [0.99999964, 0.99999940, 0.99993813, 0.99375498, 0.95878321, 0.79949641, 0.40537176, 0.08967875, 8.005e-4],
        ),
    ],
)
def test_published_shares(schedule: str, expected: list[float]) -> None:
    at = [0, 1, 10, 100, 250, 500, 750, 900, 990]
    shares = signal_shares(NoiseConfig(schedule=schedule))[at]
    torch.testing.assert_close(shares, torch.tensor(expected), rtol=1e-4, atol=2e-7)


def test_visited_timesteps() -> None:
    assert spaced(1000, 5, "trailing") == [999, 799, 599, 399, 199]
    assert spaced(1000, 7, "trailing") == [999, 857, 715, 573, 431, 289, 147, 5]  # one more, as published samplers do
    assert spaced(1000, 7, "even")[:3] == [999, 856, 713] and len(spaced(1000, 7, "even")) == 7
    assert spaced(1000, 4, "leading") == [750, 500, 250, 0]
    assert spaced(1000, 4, "linspace") == [999, 666, 333, 0]


def test_thresholding_brings_every_picture_into_range() -> None:
    x = torch.stack([torch.linspace(-3, 3, 1000), torch.linspace(-0.5, 0.5, 1000)])
    cut = threshold(x, ceiling=10.0)
    assert cut[0].abs().max() == 1 and cut[0, 750] == pytest.approx(float(x[0, 750]) / 2.985, rel=1e-2)
    assert torch.equal(cut[1], x[1])
    assert torch.equal(threshold(x, ceiling=1.0), x.clamp(-1, 1))


@pytest.mark.parametrize(
    ("broken", "hint"),
    [
        (lambda: NoiseConfig(schedule="cosine"), "schedule is 'cosine'"),
        (lambda: NoiseConfig(schedule="shifted_cosine:-1"), "positive"),
        (lambda: NoiseConfig(prediction="x0"), "prediction"),  # type: ignore[arg-type]
        (lambda: NoiseConfig(solver="euler"), "solver"),  # type: ignore[arg-type]
        (lambda: NoiseConfig(ceiling=0.5), "ceiling"),
        (lambda: UNetConfig(4, 20, (1,), 1), "multiple of 32"),
        (lambda: UNetConfig(4, 32, (), 1), "multipliers"),
        (lambda: UViTConfig(4, (32,), 1, 30, 1, 4), "heads"),
        (lambda: attrs.evolve(CONFIG, noise=None), "denoises"),
        (lambda: attrs.evolve(CONFIG, labels=3), "labels"),
        (lambda: Denoising(steps=0), "at least 1"),
        (lambda: Denoising(solver="dpm"), r"did you mean 'd"),
        (lambda: Denoising(spacing="even?"), "spacing"),
        (lambda: make().decode(torch.zeros(1, 16, dtype=torch.long), steps=2000), "1000 timesteps"),
        (lambda: make(prediction="epsilon").decode(torch.zeros(1, 16, dtype=torch.long), steps=2), "pure noise"),
        (lambda: VQTokenizer(CONFIG), "denoiser"),
    ],
)
def test_what_cannot_be_is_refused(broken: Callable[[], object], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        broken()


# Solvers, on a picture whose best prediction is known: every pixel normal with mean 0.5 and deviation 0.3.


def solve(config: NoiseConfig, options: Denoising) -> Tensor:
    noise = Noise(config)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, 64, generator=generator)
    solver = Solver(noise, options)
    for index, t in enumerate(solver.timesteps):
        share = noise.share(t)
        spread = 0.09 * share + 1 - share
        output = 0.5 + 0.09 * share.sqrt() * (x - 0.5 * share.sqrt()) / spread
        x = solver.step(index, x, output, lambda: torch.randn(4, 64, generator=generator))
    return x


@pytest.mark.parametrize("schedule", ["linear", "shifted_cosine:0.5"])
def test_the_second_order_solver_reaches_the_limit_of_ddim_sooner(schedule: str) -> None:
    config = NoiseConfig(schedule=schedule, clip=False)
    limit = solve(config, Denoising(steps=1000))

    def distance(solver: str, steps: int) -> float:
        return float((solve(config, Denoising(steps=steps, solver=solver)) - limit).abs().mean())

    assert distance("dpm++", 200) < 5e-3
    assert distance("dpm++", 20) < 0.75 * distance("ddim", 20)
    assert distance("ddim", 100) < distance("ddim", 20)


@pytest.mark.parametrize(
    "options",
    [
        Denoising(steps=500),
        Denoising(steps=500, eta=1.0),
        Denoising(steps=1000, solver="ddpm"),
        Denoising(steps=60, solver="dpm++"),
    ],
    ids=["ddim", "ddim with noise", "ddpm", "dpm++"],
)
def test_every_solver_gives_pictures_of_the_right_kind(options: Denoising) -> None:
    pixels = solve(NoiseConfig(clip=False), options)
    assert pixels.mean() == pytest.approx(0.5, abs=0.08)
    assert pixels.std() == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm++"])
def test_the_last_step_gives_the_prediction_itself(solver: str) -> None:
    run = Solver(Noise(NoiseConfig(clip=False)), Denoising(steps=1000, solver=solver))
    assert run.timesteps[-1] == 0
    noisy, output = torch.randn(2, 1, 4)
    torch.testing.assert_close(run.step(999, noisy, output, lambda: torch.randn(1, 4)), output, rtol=1e-4, atol=1e-4)


# Tokenizers.


@pytest.mark.parametrize("decoder", DECODERS)
class TestEveryDecoder:
    def test_any_grid_decodes_and_the_batch_changes_nothing(self, decoder: str) -> None:
        tokenizer = make(decoder)
        ids = torch.randint(32, (3, 2 * 4), generator=torch.Generator().manual_seed(1))
        together = tokenizer.decode(ids, (2, 4), steps=3, seed=[5, 6, 7])
        assert together.shape == (3, 3, 16, 32) and together.dtype == torch.float32
        alone = torch.cat([tokenizer.decode(ids[i : i + 1], (2, 4), steps=3, seed=5 + i) for i in range(3)])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)

    def test_seeds_and_solvers(self, decoder: str) -> None:
        tokenizer, ids = make(decoder), torch.arange(16)[None]
        first = tokenizer.decode(ids, steps=2)
        assert torch.equal(first, tokenizer.decode(ids, steps=2, seed=0))
        assert not torch.equal(first, tokenizer.decode(ids, steps=2, seed=1))
        noisy = tokenizer.decode(ids, steps=2, solver="ddpm")
        assert torch.equal(noisy, tokenizer.decode(ids, steps=2, solver="ddpm"))
        assert tokenizer.decode(ids, steps=2, solver="dpm++").isfinite().all()

    def test_the_codes_steer_the_picture(self, decoder: str) -> None:
        tokenizer = make(decoder)
        x, t = torch.zeros(1, 3, 32, 32), torch.tensor([500])
        codes = torch.randn(2, 1, 8, 4, 4)
        plain = tokenizer.decoder(x, t, codes[0])
        assert not torch.allclose(plain, tokenizer.decoder(x, t, codes[1]))

    def test_half_precision_and_the_meta_device(self, decoder: str) -> None:
        tokenizer, x = make(decoder), torch.randn(2, 3, 32, 32)
        with torch.device("meta"):
            hollow = build(tokenizer.config).eval()
        hollow.load_state_dict(tokenizer.state_dict(), assign=True)
        ids = tokenizer.encode(x)
        assert torch.equal(hollow.encode(x), ids)
        assert torch.equal(hollow.decode(ids, steps=2), tokenizer.decode(ids, steps=2))
        rough = tokenizer.to(torch.bfloat16).decode(ids, steps=2)
        assert rough.dtype == torch.float32 and rough.isfinite().all()

    def test_config_is_plain_data(self, decoder: str) -> None:
        config = make(decoder).config
        assert structure(json.loads(json.dumps(attrs.asdict(config))), TokenizerConfig, "a test") == config


def test_what_does_not_fit_is_refused_in_words() -> None:
    tokenizer = make("uvit halved")
    with pytest.raises(SpaceError, match=r"multiples of 16, not 24 x 16.*multiple of 2 each way"):
        tokenizer.decode(torch.zeros(1, 6, dtype=torch.long), (3, 2))
    with pytest.raises(ValueProblem, match="2 seeds do not fit 1 sample;"):
        tokenizer.decode(torch.zeros(1, 4, dtype=torch.long), seed=[1, 2])
    with pytest.raises(ConfigError, match="has quantizer"):
        other = attrs.evolve(CONFIG, decoder=VIT, noise=None, quantizer=CosineConfig(size=16, latent=8))
        make().adopt(VQTokenizer(other))
    with pytest.raises(ConfigError, match="positions for 64 pixels a side, this tokenizer for 32"):
        make().adopt(VQTokenizer(attrs.evolve(CONFIG, decoder=VIT, noise=None, image_size=64)))
    assert issubclass(SpaceError, AnymodalError)


def test_a_modality_decodes_in_its_own_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    modality = am.image("planet", size=32, patch=8, codebook=32, latent=8)()
    tokenizer = modality.tokenizer = make()
    seen: list[int | None] = []
    decode = tokenizer.decode
    monkeypatch.setattr(tokenizer, "decode", lambda ids, **o: seen.append(o["steps"]) or decode(ids, **o))
    ids = modality.tokenize([np.zeros((32, 32, 3), np.float32)])["planet"]
    modality.denoising_steps = 3
    (value,) = modality.detokenize(ids)
    assert value.shape == (32, 32, 3) and seen == [3]
    sure = np.eye(32, dtype=np.float32)[ids[0]]
    (mean,) = modality.expect([sure])
    assert np.allclose(mean, value, atol=1e-5)
    modality.denoising_steps = 25
    assert not np.allclose(modality.expect([sure])[0], value, atol=1e-3)


def test_training_on_a_frozen_encoder_lowers_the_loss_and_keeps_the_codes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    feed_forward = VQTokenizer(attrs.evolve(CONFIG, decoder=VIT, noise=None)).eval()
    tokenizer = make(prediction="sample")
    tokenizer.adopt(feed_forward)
    x = (torch.rand(16, 3, 1, 1) * 2 - 1).expand(-1, -1, 32, 32).contiguous()
    ids = feed_forward.encode(x)
    run = TrainingSettings(
        steps=80, batch_size=16, lr=2e-3, schedule={"warmup_steps": 5}, log_every=10, precision="float32"
    )
    trained = fit_tokenizer(tokenizer, lambda start: iter(lambda: x, None), "mse", run, tmp_path)
    records = read_log(tmp_path / "log.jsonl")
    assert records[-1]["reconstruction"] < 0.8 * records[0]["reconstruction"]
    assert torch.equal(trained.encode(x), ids)
    assert not any(p.requires_grad for p in trained.encoder.parameters())


def test_the_command_trains_a_denoiser_for_a_trained_tokenizer(tmp_path: Path) -> None:
    assert command("scenes", "--count", 4, "--size", 32, "--out", tmp_path / "scenes", "--seed", 1) == 0
    keys = {"modality": "depth", "settings": {**GRID, "scaling": "log", "low": 0.4, "high": 80.0}}
    codes = trained_tokenizer(tmp_path / "scenes", tmp_path / "codes", encoder=SIDE, decoder=SIDE, **keys)
    unet = {"patch": 4, "channels": 32, "multipliers": [1], "blocks": 1}
    keys |= {"unet": unet, "noise": {"prediction": "v_prediction"}, "codes": str(codes)}
    trained_tokenizer(tmp_path / "scenes", tmp_path / "denoiser", **keys)
    codes, denoising = (load_tokenizer(tmp_path / name / "modalities/depth") for name in ("codes", "denoiser"))
    assert isinstance(denoising, DiffusionTokenizer) and denoising.noise.config.prediction == "v_prediction"
    x = torch.rand(1, 1, 32, 32)
    assert torch.equal(codes.encode(x), denoising.encode(x))
    assert denoising.decode(denoising.encode(x), steps=2).shape == x.shape


# Codes that a decoder attends to.


@torch.no_grad()
def test_cross_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mine, theirs = CrossAttention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.copy_(torch.cat([mine.q.weight, mine.kv.weight]))
    theirs.in_proj_bias.copy_(torch.cat([mine.q.bias, mine.kv.bias]))
    theirs.out_proj.load_state_dict(mine.proj.state_dict())
    x, codes = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    torch.testing.assert_close(mine(x, codes), theirs(x, codes, codes, need_weights=False)[0])


@torch.no_grad()
def test_a_decoder_attends_to_codes_where_they_lie() -> None:
    """Codes count, each at its place, on a grid of their own; noise is predicted and taken away with fresh noise."""
    tokenizer = make("uvit xattn", prediction="epsilon", solver="ddpm", schedule="squaredcos_cap_v2", threshold=True)
    ids = torch.arange(16)[None]
    picture = tokenizer.decode(ids, seed=3, steps=4)
    assert picture.shape == (1, 3, 32, 32) and picture.isfinite().all()
    assert torch.equal(picture, tokenizer.decode(ids, seed=3, steps=4))
    assert not torch.allclose(picture, tokenizer.decode(ids.flip(1), seed=3, steps=4))
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([10, 900])
    codes = torch.randn(2, 8, 2, 3)  # a grid that does not fit that of the pixels
    assert tokenizer.decoder(x, t, codes).shape == x.shape
    assert not torch.allclose(tokenizer.decoder(x, t, codes), tokenizer.decoder(x, t, codes.flip(3)))


def test_what_is_not_cut_cannot_start_from_pure_noise() -> None:
    ids = torch.zeros(1, 16, dtype=torch.long)
    wild = make("uvit xattn", prediction="epsilon", solver="ddpm", clip=False, timesteps=8)
    with pytest.raises(ConfigError, match="timestep 7 is pure noise"):
        wild.decode(ids, steps=8)
    assert make("uvit xattn", prediction="epsilon", solver="ddpm", timesteps=8).decode(ids, steps=8).isfinite().all()
    assert wild.decode(ids, steps=4).isfinite().all()
