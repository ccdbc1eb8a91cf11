"""The model of recipes/tiny128 begins where the smaller one is: what grow.py adds changes nothing at first."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import anymodal as am
from anymodal.checkpoints.state import fill_state, split_state
from anymodal.model import Transformer
from anymodal.nn.sincos import sincos_2d
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import VQTokenizer


@pytest.fixture(scope="module")
def grow() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "recipes/tiny128/grow.py"))


def test_blocks_that_are_added_pass_on_what_they_get(grow: dict[str, Any]) -> None:
    model = am.load("tiny", modalities=["caption", "rgb"], precision="float32")
    before = model.transformer
    weights = split_state(before)
    pixels = "projections.rgb.pixels.weight"
    grown = grow["grow_weights"](weights, {}) | {pixels: weights[pixels]}
    deeper = attrs.evolve(before.config, encoder_depth=before.config.encoder_depth + grow["ADDED"])
    after = Transformer(deeper, before.layout).eval()
    fill_state(after, grown.get, "the grown weights")
    with torch.no_grad():
        inputs = am.generation.batch.encoder_inputs(model.modalities, [{"caption": "a red car on a road"}]).inputs
        assert torch.equal(before.encode(inputs).tokens, after.encode(inputs).tokens)


def test_cells_of_a_finer_grid_lie_in_those_of_the_coarser_one(grow: dict[str, Any]) -> None:
    fine, coarse = grow["between_cells"](16, 192), sincos_2d(8, 8, 192)
    nearest = (fine @ coarse.T).argmax(1).reshape(16, 16)
    rows, columns = torch.meshgrid(torch.arange(16) // 2, torch.arange(16) // 2, indexing="ij")
    assert torch.equal(nearest, rows * 8 + columns)
    assert torch.allclose(fine.norm(dim=1), coarse.norm(dim=1).mean(), atol=1e-4)


def test_a_tokenizer_for_larger_pictures_says_the_same_ids(grow: dict[str, Any]) -> None:
    torch.manual_seed(0)
    vit = ViTConfig(dim=16, depth=1, heads=2, patch=4)
    quantizer = CosineConfig(size=32, latent=4)
    small = VQTokenizer(TokenizerConfig("vit", 3, vit, vit, quantizer, image_size=16)).eval()
    larger = grow["larger_tokenizer"](small)
    pictures = torch.rand(3, 3, 16, 16) * 2 - 1
    twice = pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)
    ids = small.encode(pictures)
    assert torch.equal(larger.encode(twice), ids)
    drawn = small.decode(ids).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(larger.decode(ids), drawn, atol=1e-5)
