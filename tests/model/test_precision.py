"""In which numbers a model generates: what the device does fast where it pays, float32 always to be had."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from torch import nn

import anymodal as am
from anymodal.checkpoints.deferred import Deferred, compute_in
from anymodal.checkpoints.repository import Access
from anymodal.errors import ConfigError
from anymodal.generation import Sampler, SampleState, Target
from anymodal.model import ModelConfig, Transformer
from anymodal.model.precision import precision_of
from anymodal.nn.precision import WIDE
from anymodal.outputs import Origin
from anymodal.outputs.run import run_of
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokenizers.config import NoiseConfig, TokenizerConfig, UNetConfig, ViTConfig
from anymodal.tokenizers.diffusion import build
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import Tokenizer
from anymodal.tokens import Layout

GRID = Stream("g", "g", TokenSpace(20, 16, shape=(4, 4)), input=True, target=True)
PROBES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def model(dim: int = 8, precision: str = "auto") -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(dim=dim, encoder_depth=1, decoder_depth=1, heads=2)
    made = Transformer(config, Layout([GRID])).eval().requires_grad_(False)
    made.precision = precision  # type: ignore[assignment]
    return made


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Gives this machine a processor with the named flags alone."""

    def flags(*names: str) -> None:
        for probe in PROBES:
            monkeypatch.setattr(torch.cpu, probe, lambda probe=probe: probe in names, raising=False)

    return flags


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="without oneDNN no processor is fast in bfloat16")
@pytest.mark.parametrize("flag", PROBES)
def test_auto_is_bfloat16_where_the_processor_has_it_and_the_model_is_wide(processor, flag):
    processor(flag)
    assert precision_of(model(WIDE)) == "bfloat16"
    assert precision_of(model(WIDE // 2)) == "float32"
    assert precision_of(model(WIDE, "float32")) == "float32"
    assert precision_of(model(WIDE).half()) == "float32"  # weights of another type keep it


def test_auto_is_float32_on_other_processors_and_bfloat16_can_be_asked_for(processor):
    processor()
    assert precision_of(model(WIDE)) == "float32"
    assert precision_of(model(WIDE, "bfloat16")) == "bfloat16"
    assert precision_of(model()) == "float32"


@pytest.mark.parametrize("refresh", [1, 3])
def test_grids_are_generated_in_the_precision_of_the_model(refresh):
    how = Sampling(scheme="maskgit", steps=4, temperature=0.0, refresh=refresh)
    seen, found = set(), []
    for precision in ("float32", "bfloat16"):
        net = model(precision=precision)
        for layer in (net.encoder[0].mlp.fc1, net.decoder[0].mlp.fc1):
            layer.register_forward_hook(lambda m, i, out, p=precision: seen.add((p, out.dtype)))
        state = SampleState(net.layout, {"g": np.array([1, 2, 3])})
        for _ in Sampler(net).run([state], [Target("g", how)], [0]):
            assert not torch.is_autocast_enabled("cpu")  # whoever reads the steps computes in numbers of their own
        found.append(state.streams["g"].values)
    assert seen == {("float32", torch.float32), ("bfloat16", torch.bfloat16)}
    assert (found[0] == found[1]).mean() > 0.8


def tokenizer(denoises: bool, precision: str) -> Tokenizer:
    torch.manual_seed(0)
    size = ViTConfig(dim=16, depth=1, heads=2, patch=4)
    config = TokenizerConfig("vit", 3, size, size, CosineConfig(size=8, latent=4), image_size=16)
    if denoises:
        unet = UNetConfig(patch=2, channels=32, multipliers=(1,), blocks=1, attention=())
        config = attrs.evolve(config, decoder=unet, noise=NoiseConfig())
    made = build(config).eval()
    made.precision = precision  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("denoises", [False, True])
def test_tokenizers_use_their_precision_but_for_denoising(denoises):
    seen, x = set(), torch.rand(2, 3, 16, 16)
    for precision in ("float32", "bfloat16"):
        made = tokenizer(denoises, precision)
        for part in (made.encoder, made.decoder):
            linear = next(m for m in part.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
            linear.register_forward_hook(
                lambda m, i, out, p=(precision, part is made.encoder): seen.add((*p, out.dtype))
            )
        ids = made.encode(x)
        steps = {"steps": 2} if denoises else {}
        assert made.decode(ids, **steps).dtype == torch.float32
    half = torch.float32 if denoises else torch.bfloat16
    assert seen == {
        *(("float32", side, torch.float32) for side in (True, False)),
        ("bfloat16", True, torch.bfloat16),
        ("bfloat16", False, half),
    }


@pytest.mark.parametrize("loaded", [True, False])
def test_a_tokenizer_gets_its_precision_now_or_when_it_is_loaded(loaded):
    class Planet(am.ImageModality):
        channels, low, high = 3, 0.0, 1.0

    modality, made = Planet(), tokenizer(False, "float32")
    if loaded:
        modality.tokenizer = made
    else:
        modality.pending = Deferred("planet", "somewhere", None, Access(), lambda place, access: made)
    compute_in("auto", modality)
    assert modality.tokenizer is made and made.precision == "auto"


def test_what_is_loaded_says_its_precision_and_a_run_records_it(tmp_path: Path):
    assert precision_of(am.load("tiny", modalities=["rgb", "depth"]).transformer) == "float32"
    loaded = am.load("tiny", modalities=["rgb", "depth"], precision="bfloat16")
    assert loaded.modalities["depth"].tokenizer.precision == "bfloat16"
    assert run_of(Origin(), loaded.transformer, loaded.modalities, [], [], True, None).precision == "bfloat16"
    with pytest.raises(ConfigError, match="float16"):
        am.load("tiny", precision="float16")
