"""Tokenizers of published 4M checkpoints: their configs and weights, both ways."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch

from anymodal.checkpoints.formats.fourm.tokenizer_config import ViTSize, parse_tokenizer_config, write_tokenizer_config
from anymodal.checkpoints.formats.fourm.tokenizers import (
    load_published_tokenizer,
    save_published_tokenizer,
    tokenizer_keys,
)
from anymodal.errors import CheckpointError
from anymodal.tokenizers.config import OverlapConfig, UNetConfig, UViTConfig
from anymodal.tokenizers.diffusion import build as build_tokenizer

TOKENIZER = {
    "enc_type": "vit_toy_enc",
    "dec_type": "vit_toy_dec",
    "image_size": 32,
    "patch_size": 8,
    "n_channels": 3,
    "codebook_size": 16,
    "latent_dim": 4,
    "post_mlp": True,
    "out_conv": True,
}
TOY = {
    "vit_toy_enc": ViTSize(8, 1, 2),
    "vit_toy_dec": ViTSize(8, 2, 4, 2),
    "unet_toy": UNetConfig(patch=4, channels=32, multipliers=(1, 2), blocks=1, attention=(2,)),
    "uvit_toy": UViTConfig(patch=4, widths=(32, 32), blocks=1, dim=8, depth=1, heads=2, side=4),
}
DENOISER = TOKENIZER | {
    "dec_type": "unet_toy",
    "image_size": 64,
    "image_size_enc": 32,
    "beta_schedule": "shifted_cosine:0.5",
    "prediction_type": "sample",
    "scheduler": "ddim",
    "num_train_timesteps": 100,
}
VECTORS = {
    "enc_type": "BottleneckMLP/B_1-Wi_8",
    "dec_type": "BottleneckMLP/B_1-Wi_8-E_2",
    "n_channels": 5,
    "quant_type": "memcodes",
    "codebook_size": 6,
    "num_codebooks": 2,
    "latent_dim": 4,
}


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "raw",
    [
        TOKENIZER,
        TOKENIZER | {"n_labels": 7, "n_channels": 4},
        VECTORS,
        DENOISER,
        DENOISER | {"dec_type": "uvit_toy", "thresholding": False, "clip_sample": True},
        DENOISER | {"dec_type": "uvit_toy", "conditioning": "xattn", "prediction_type": "epsilon", "scheduler": "ddpm"},
    ],
)
def test_tokenizer_round_trip(tmp_path: Path, raw: dict):
    torch.manual_seed(0)
    config = parse_tokenizer_config(raw, "the test", TOY)
    assert parse_tokenizer_config(write_tokenizer_config(config, TOY), "the test", TOY) == config
    tokenizer = build_tokenizer(config)
    for name in ("folder", "single.safetensors"):
        loaded = load_published_tokenizer(save_published_tokenizer(tokenizer, tmp_path / name, TOY), TOY)
        assert loaded.config == config
        assert same(tokenizer, loaded)


def test_an_encoder_and_a_decoder_of_one_name_may_be_of_different_sizes():
    config = parse_tokenizer_config(TOKENIZER, "the test", TOY)
    sizes = [(side.dim, side.depth, side.heads, side.expansion) for side in (config.encoder, config.decoder)]
    assert sizes == [(8, 1, 2, 4), (8, 2, 4, 2)]
    names = write_tokenizer_config(config, TOY)
    assert (names["enc_type"], names["dec_type"]) == ("vit_toy_enc", "vit_toy_dec")
    published = parse_tokenizer_config({"enc_type": "vit_s_enc", "dec_type": "vit_l_dec"}, "the test")
    assert (published.encoder.dim, published.decoder.dim) == (512, 1024)
    with pytest.raises(CheckpointError, match="4M has no name for a ViTSize"):
        write_tokenizer_config(attrs.evolve(config, decoder=config.encoder), TOY)
    with pytest.raises(CheckpointError, match="4M tokenizers have no overlap"):
        write_tokenizer_config(attrs.evolve(config, overlap=OverlapConfig((4,))), TOY)


def test_the_conditioning_of_a_uvit_is_what_the_config_says(tmp_path: Path):
    raw = DENOISER | {"dec_type": "uvit_toy", "prediction_type": "epsilon", "scheduler": "ddpm"}
    crossed = parse_tokenizer_config(raw | {"conditioning": "xattn"}, "the test", TOY)
    assert (crossed.decoder.conditioning, crossed.noise.prediction, crossed.noise.solver) == (
        "xattn",
        "epsilon",
        "ddpm",
    )
    assert parse_tokenizer_config(raw, "the test", TOY).decoder.conditioning == "concat"
    assert write_tokenizer_config(crossed, TOY)["conditioning"] == "xattn"
    names = {key.name for key in tokenizer_keys(build_tokenizer(crossed))}
    block = "decoder.mid_block.mid_block.0"
    assert {f"{block}.cross_attn.kv.weight", f"{block}.self_attn.qkv.bias", f"{block}.adaLN_gate.weight"} <= names
    save_published_tokenizer(build_tokenizer(crossed), tmp_path / "crossed", TOY)
    path = tmp_path / "crossed/config.json"
    path.write_text(path.read_text().replace("xattn", "concat"))
    with pytest.raises(CheckpointError, match=r"decoder\.mid_block\.mid_block\.0"):
        load_published_tokenizer(tmp_path / "crossed", TOY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dec_type": "unet_patchd"}, "unknown dec_type 'unet_patchd'.*did you mean 'unet_patched'"),
        ({"dec_type": "controlnet"}, "ControlNet"),
        ({"beta_schedule": "linear", "dec_type": "unet_patched", "scheduler": "pndm"}, "scheduler"),
        ({"beta_schedule": "linaer", "dec_type": "unet_patched"}, "schedule is 'linaer'"),
        ({"beta_schedule": "shifted_cosine:x", "dec_type": "unet_patched"}, "the shift must be a positive number"),
        ({"dec_type": "uvit_b_p4_f16", "conditioning": "add"}, "conditioning of a UViT is concat or xattn, got 'add'"),
        ({"dec_type": "vit_toy_enc"}, "unknown dec_type 'vit_toy_enc'.*did you mean 'vit_toy_dec'"),
        ({"enc_type": "vit_huge_enc"}, "unknown enc_type 'vit_huge_enc'"),
        ({"norm_codes": False}, "norm_codes"),
        ({"quant_type": "fsq"}, "quant_type must be one of"),
        ({"image_size_dec": 16}, "image_size_dec"),
        ({"codebook_size": 0}, "size"),
    ],
)
def test_tokenizers_that_cannot_be_built_are_refused(changes: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        parse_tokenizer_config(TOKENIZER | changes, "the test", TOY)
