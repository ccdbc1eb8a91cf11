"""Encoder features: equal to what the decoder reads, with the place of each token, alone as in a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import anymodal as am
from anymodal.errors import ConfigError, GenerationError, UnknownModality
from anymodal.generation import SampleState
from anymodal.model import ModelConfig, Transformer
from anymodal.model.features import POOLS
from anymodal.tokens import collate


def hooked(model: am.AnyModel, inputs: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of the encoder's last norm (B, N, D) on the way to the decoder, and the tokens that are real."""
    layout, seen = model.modalities.layout, []
    states = [SampleState(layout, model.modalities.condition(model.accept(sample))) for sample in inputs]
    batch = collate([state.pack() for state in states], layout)
    handle = model.transformer.encoder_norm.register_forward_hook(lambda module, given, out: seen.append(out))
    model.transformer.encode(batch.inputs)
    handle.remove()
    return seen[0], batch.inputs.streams >= 0


@pytest.fixture
def inputs(picture):
    return [{"rgb": picture, "caption": "a red car"}, {"caption": "a blue cup on a table"}, {"depth": np.ones((9, 9))}]


def test_features_are_what_the_decoder_reads(small_model, inputs):
    found, (expected, real) = small_model.features(inputs), hooked(small_model, inputs)
    assert found.states.shape == expected.shape and torch.equal(found.attended, real)
    assert torch.equal(found.states[real], expected[real])
    layout = small_model.modalities.layout
    names = {layout.streams[k].name for k in found.streams[0].tolist()}
    assert names == {"rgb.pixels", "caption"}
    pixels = found.streams[0] == layout.index["rgb.pixels"]
    assert found.positions[0][pixels].tolist() == list(range(16))
    assert found.positions[1][real[1]].tolist() == list(range(int(real[1].sum())))
    assert (found.positions[~real] == -1).all()


def test_a_sample_has_the_same_features_alone_as_in_a_batch(small_model, inputs):
    together = small_model.features(inputs, layers=[0, -1])
    pooled = small_model.features(inputs, pool="mean")
    for k, sample in enumerate(inputs):
        alone, part = small_model.features(sample, layers=[0, -1]), together.sample(k)
        assert alone.states.shape == part.states.shape and torch.allclose(alone.states, part.states, atol=1e-5)
        assert torch.equal(alone.streams, part.streams) and torch.equal(alone.positions, part.positions)
        mean = small_model.features(sample).states.mean(0)
        assert torch.allclose(mean, pooled.states[k], atol=1e-5)
        assert torch.allclose(mean, small_model.features(sample, pool="mean").states, atol=1e-6)


def test_layers_are_states_after_each_block(small_model, inputs):
    both = small_model.features(inputs, layers=[0, 1]).states
    assert both.shape[0] == 2 and not torch.allclose(both[0], both[1], atol=1e-2)
    assert torch.equal(both[1], small_model.features(inputs).states)
    assert torch.equal(both.flip(0), small_model.features(inputs, layers=[-1, -2]).states)
    for wrong in ([2], [-3], []):
        with pytest.raises(ConfigError, match="block"):
            small_model.features(inputs, layers=wrong)


def test_grids_are_maps(small_model, picture):
    given = [{"rgb": picture, "caption": "a red car"}, {"caption": "a long text before a picture", "rgb": picture}]
    found = small_model.features(given)
    for name in ("rgb", "rgb.pixels"):
        grid = found.map(name)
        assert grid.shape == (2, 4, 4, 32)
        for b in range(2):
            here = found.streams[b] == small_model.modalities.layout.index["rgb.pixels"]
            assert torch.equal(grid[b].reshape(16, 32), found.states[b, here])
    assert small_model.features(given, layers=[0, 1]).map("rgb").shape == (2, 2, 4, 4, 32)
    assert torch.allclose(small_model.features(given[0]).map("rgb"), found.map("rgb")[0], atol=1e-5)


def test_maps_that_are_not_there_are_refused(small_model, inputs):
    alone = small_model.features(inputs[0])
    with pytest.raises(GenerationError, match=r"'caption' is not one grid that was read .grids among the inputs: rgb"):
        alone.map("caption")
    with pytest.raises(GenerationError, match=r"only a part of the grid 'rgb\.pixels'"):
        small_model.features(inputs).map("rgb")
    with pytest.raises(GenerationError, match="leave out pool"):
        small_model.features(inputs[0], pool="mean").map("rgb")
    with pytest.raises(UnknownModality, match="did you mean 'rgb'"):
        small_model.features({"rbg": 0})


def test_padding_is_left_out_of_the_mean(small_model, inputs):
    states, real = hooked(small_model, inputs)
    expected = torch.stack([s[r].mean(0) for s, r in zip(states, real, strict=True)])
    assert not real.all()
    assert torch.allclose(small_model.features(inputs, pool="mean").states, expected, atol=1e-5)
    assert torch.equal(small_model.features([{}, inputs[0]], pool="mean").states[0], torch.zeros(32))
    assert small_model.features({}).states.shape == (0, 32)
    with pytest.raises(ConfigError, match=r"there is no pool 'max'.* known: mean"):
        small_model.features(inputs, pool="max")


def test_third_parties_add_pools(small_model, inputs, monkeypatch):
    first = lambda states, attended: states[..., 0, :]  # noqa: E731
    monkeypatch.setitem(POOLS, "first", first)
    assert torch.equal(small_model.features(inputs, pool="first").states, small_model.features(inputs).states[:, 0])


def test_gradients_flow_unless_they_are_off(seven, inputs):
    torch.manual_seed(0)
    model = am.AnyModel(seven, ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2, registers=2))
    model.features(inputs, pool="mean").states.square().sum().backward()
    grads = {name for name, p in model.transformer.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"input_table", "registers", "encoder.0.attn.qkv.weight"} <= grads
    assert not any(name.startswith("decoder") for name in grads)
    with torch.no_grad():
        assert not model.features(inputs).states.requires_grad


def test_registers_have_no_place_and_are_left_out(seven, inputs):
    torch.manual_seed(0)
    net = Transformer(ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2, registers=3), seven.layout)
    model = am.AnyModel(seven, net)
    found, (expected, real) = model.features(inputs), hooked(model, inputs)
    assert expected.shape[1] == found.states.shape[1] + 3
    assert torch.equal(found.states[real], expected[:, 3:][real])
