"""Models that grow: a larger one begins with what the smaller one computes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from known_model import SIDE

import anymodal as am
from anymodal.errors import ConfigError
from anymodal.generation.batch import encoder_inputs
from anymodal.model import ModelConfig, Transformer
from anymodal.nn.sincos import sincos_2d
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.multimodal.growth import check_growth, grown
from anymodal.training.multimodal.warm_start import take_over

LAYOUT = Layout(
    [
        Stream("a.pixels", "a", DenseSpace.grid(6, 2, 3, learned=True), target=False),
        Stream("a", "a", TokenSpace.grid(16, 2, 3, learned=True)),
        Stream("g", "g", TokenSpace(8, 4, learned=True)),
    ]
)
SMALL = ModelConfig(dim=24, encoder_depth=2, decoder_depth=1, heads=3, mlp_ratio=2.0)
FLAGS = ("qkv_bias", "proj_bias", "mlp_bias", "norm_bias", "qk_norm", "tied_streams", "gated")


def filled(config: ModelConfig) -> Transformer:
    """A model of which no weight is what it is before training."""
    torch.manual_seed(0)
    net = Transformer(config, LAYOUT).eval()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.copy_(torch.randn_like(weight) * 0.5 + 1)
            if name != "input_table":
                weight.add_(torch.randn_like(weight) * 0.1)
    return net


def samples() -> Packed:
    rng = np.random.default_rng(0)
    packer, other = Packer(LAYOUT), Packer(LAYOUT)
    packer.add_dense("a.pixels", rng.random((6, 6)), np.arange(6))
    packer.add_grid_target("g", rng.integers(0, 8, 4), np.arange(4))
    other.add_input("a", rng.integers(0, 16, 3), np.array([0, 2, 5]))
    other.add_input("g", rng.integers(0, 8, 4), np.arange(4))
    other.add_grid_target("a", rng.integers(0, 16, 3), np.array([1, 3, 4]))
    return collate([packer.pack(), other.pack()], LAYOUT)


def scores(net: Transformer, batch: Packed) -> torch.Tensor:
    with torch.no_grad():
        states = net.decode(batch.targets, net.encode(batch.inputs))
        return torch.cat([net.logits(states, name) for name in ("a", "g")], -1)


@given(
    shape=st.fixed_dictionaries(
        {
            "heads": st.integers(3, 6),
            "encoder_depth": st.integers(2, 7),
            "decoder_depth": st.integers(1, 3),
            "mlp_ratio": st.sampled_from([2.0, 2.5, 4.0]),
        }
    ),
    flags=st.fixed_dictionaries({name: st.booleans() for name in FLAGS} | {"registers": st.sampled_from([0, 2])}),
)
@settings(max_examples=40, deadline=None)
def test_a_grown_model_gives_what_the_small_one_gives(shape: dict[str, Any], flags: dict[str, Any]) -> None:
    small = attrs.evolve(SMALL, **flags)
    large = attrs.evolve(small, **shape, dim=8 * shape["heads"])
    net, batch = filled(small), samples()
    check_growth(small, large, "the small one")
    assert torch.allclose(scores(grown(net, large).eval(), batch), scores(net, batch), atol=2e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_of_streams_are_tied_as_they_were(tied: bool) -> None:
    """A run takes them over by stream, whether its own are tied or not."""
    small, batch = attrs.evolve(SMALL, tied_streams=tied), samples()
    net, large = filled(small), attrs.evolve(SMALL, dim=32, heads=4, tied_streams=not tied)
    check_growth(small, large, "the small one")
    assert torch.allclose(scores(grown(net, large).eval(), batch), scores(net, batch), atol=2e-4)
    if tied:  # what the run has of them then is the same
        run = Transformer(large, LAYOUT).eval()
        take_over(run, None, grown(net, large), None, "the small one")
        assert torch.allclose(scores(run, batch), scores(net, batch), atol=2e-4)


def test_all_that_is_new_learns() -> None:
    large = attrs.evolve(SMALL, dim=40, heads=5, encoder_depth=4, mlp_ratio=3.0)
    net, batch = grown(filled(SMALL), large), samples()
    rate = 1e-2
    for _ in range(3):  # what reads new directions has a gradient once they are written, which takes a step
        net.zero_grad()
        sum(net(batch).values()).backward()
        with torch.no_grad():
            for weight in net.parameters():
                weight -= rate * weight.grad
    for name, weight in net.named_parameters():
        if weight.ndim == 2 and name not in ("input_table", "query_table"):
            idle = (weight.grad == 0).all(1)
            assert not idle[: len(idle)].all(), name
            assert "positions" in name or "streams" in name or not idle.any(), name
    added = net.encoder[1]
    assert added.attn.proj.weight.abs().sum() > 0 and added.mlp.fc2.weight.abs().sum() > 0


def test_tiny_grows_and_says_almost_the_same() -> None:
    """Positions of texts are not learned: their codes in the greater width are almost those of the smaller one."""
    model = am.load("tiny", modalities=["caption", "rgb"], precision="float32")
    small = model.transformer
    large = attrs.evolve(small.config, dim=small.config.dim // 3 * 4, heads=small.config.heads // 3 * 4)
    wide = grown(small, large).eval()
    picture = np.tile(np.arange(SIDE, dtype=np.uint8)[:, None, None], (1, SIDE, 3))
    text = {"caption": "a red car on a road"}
    batch = encoder_inputs(model.modalities, [{"rgb": picture}, text]).inputs
    packer = Packer(small.layout)
    packer.add_sequence_target("caption", model.modalities.tokenize(text)["caption"])
    targets = collate([packer.pack(), packer.pack()], small.layout).targets
    with torch.no_grad():
        before, after = (
            net.logits(net.decode(targets, net.encode(batch)), "caption").log_softmax(-1) for net in (small, wide)
        )
    divergence = (before.exp() * (before - after)).sum(-1)
    assert divergence.mean() < 0.002, divergence


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"encoder_depth": 1}, r"does not shrink: encoder_depth of x is 2, and model.encoder_depth makes it 1"),
        ({"mlp_ratio": 1.0}, r"does not shrink: hidden of x is 32, and model.mlp_ratio makes it 16"),
        (
            {"dim": 36},
            r"have 8 numbers, .* 36 with 3 heads would make it 12; set model.heads to 4 and model.dim to 32",
        ),
    ],
)
def test_models_that_cannot_grow_so_are_refused(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_growth(SMALL, attrs.evolve(SMALL, **shape), "x")


def test_cells_of_a_finer_grid_lie_in_those_of_the_coarser_one() -> None:
    """What grow.py of recipes/tiny128 lets positions begin with."""
    between_cells = runpy.run_path(str(Path(__file__).parents[2] / "recipes/tiny128/grow.py"))["between_cells"]
    fine, coarse = between_cells(16, 192), sincos_2d(8, 8, 192)
    nearest = (fine @ coarse.T).argmax(1).reshape(16, 16)
    rows, columns = torch.meshgrid(torch.arange(16) // 2, torch.arange(16) // 2, indexing="ij")
    assert torch.equal(nearest, rows * 8 + columns)
    assert torch.allclose(fine.norm(dim=1), coarse.norm(dim=1).mean(), atol=1e-4)
