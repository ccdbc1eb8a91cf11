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


@pytest.fixture(scope="module")
def grow() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "recipes/tiny128/grow.py"))


def test_blocks_that_are_added_pass_on_what_they_get(grow: dict[str, Any]) -> None:
    model = am.load("tiny", modalities=["caption", "rgb"], precision="float32")
    before = model.transformer
    weights = split_state(before)
    grown = grow["deeper_encoder"](weights)
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
