"""The Transformer on packed tokens: what it must not see, what it must not care about, and its closed-form pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymodal.checkpoints.state import fill_state, split_state
from anymodal.errors import CheckpointError, ConfigError
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.model import ModelConfig, Transformer
from anymodal.model.blocks import Cache
from anymodal.nn.sincos import sincos_1d, sincos_2d
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import Inputs, Layout, Packed, Packer, Targets, collate

TEXT = TokenSpace.sequence(50, 10, sentinels=(4, 10), end=3)
LAYOUT = Layout(
    [
        Stream("a.pixels", "a", DenseSpace.grid(6, 2, 3), target=False),
        Stream("a", "a", TokenSpace.grid(16, 2, 3)),
        Stream("t", "t", TEXT),
        Stream("g", "g", TokenSpace(8, 4, learned=True)),
    ]
)
CONFIG = ModelConfig(dim=32, encoder_depth=2, decoder_depth=2, heads=2)


def sample(seed: int = 0) -> Packed:
    rng = np.random.default_rng(seed)
    packer = Packer(LAYOUT)
    packer.add_dense("a.pixels", rng.random((6, 6)), np.arange(6))
    packer.add_input("t", np.array([20, 21, 5]), np.arange(3))
    packer.add_grid_target("a", rng.integers(0, 16, 4), np.array([0, 2, 3, 5]))
    packer.add_sequence_target("t", np.array([5, 30 + seed, 31, 3, 6]))
    packer.add_grid_target("g", rng.integers(0, 8, 4), np.arange(4))
    return packer.pack()


def model(config: ModelConfig = CONFIG) -> Transformer:
    torch.manual_seed(0)
    return Transformer(config, LAYOUT).eval()


def states(net: Transformer, batch: Packed) -> torch.Tensor:
    with torch.no_grad():
        return net.decode(batch.targets, net.encode(batch.inputs))


def test_position_codes_are_the_published_ones():
    grid, line = sincos_2d(14, 14, 64)[15], sincos_1d(10, 64)[3]
    expected = [0.841471, 0.533168, 0.540302, 0.846009, 0.841471, 0.533168, 0.540302, 1.0]
    assert grid[[0, 1, 16, 17, 32, 33, 48, 63]].tolist() == pytest.approx(expected, abs=2e-6)
    assert line[[0, 1, 31, 32, 33, 63]].tolist() == pytest.approx(
        [0.14112, 0.778273, 0.0004, -0.989992, -0.627927, 1], abs=2e-6
    )


def test_learned_positions_of_a_grid_are_trained_beside_its_codes_and_those_of_others_in_their_place():
    layout = Layout(
        [
            Stream("fine", "fine", TokenSpace.grid(16, 2, 3, learned=True)),
            Stream("coarse", "coarse", TokenSpace.grid(16, 2, 3)),
            Stream("g", "g", TokenSpace(8, 4, learned=True)),
            Stream("fine.pixels", "fine", DenseSpace.grid(12, 2, 3, learned=True), target=False),
        ]
    )
    net = Transformer(CONFIG, layout)
    places = {
        name: net.input_positions(torch.arange(layout.positions.size)[layout.positions[name].rows])
        for name in ("fine", "coarse", "g", "fine.pixels")
    }
    saved = split_state(net)
    assert torch.equal(places["fine"], sincos_2d(2, 3, 32) + saved["input_positions.fine"])
    assert torch.equal(places["fine.pixels"], sincos_2d(2, 3, 32) + saved["input_positions.fine.pixels"])
    assert "target_positions.fine.pixels" not in saved
    assert torch.equal(places["coarse"], sincos_2d(2, 3, 32)) and "input_positions.coarse" not in saved
    assert torch.equal(places["g"], saved["input_positions.g"])
    again = Transformer(CONFIG, layout)
    fill_state(again, saved.get, "what was saved")
    assert torch.equal(again.target_positions.trained, net.target_positions.trained)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        ModelConfig(
            dim=32,
            encoder_depth=1,
            decoder_depth=1,
            heads=4,
            gated=False,
            activation="gelu",
            qkv_bias=True,
            mlp_bias=True,
        ),
        ModelConfig(dim=32, encoder_depth=1, decoder_depth=2, heads=2, qk_norm=True, registers=2, tied_streams=True),
    ],
)
def test_padding_and_company_change_nothing(config):
    net = model(config)
    alone = states(net, collate([sample(0)], LAYOUT))
    together = states(net, collate([sample(0), sample(1)], LAYOUT, input_tokens=20, target_tokens=30))
    assert torch.allclose(alone[0], together[0, : alone.shape[1]], atol=1e-5)
    assert not torch.isnan(together).any()


def test_targets_see_the_past_of_their_own_stream_only():
    net = model()
    batch = collate([sample()], LAYOUT)
    before = states(net, batch)
    ids = batch.targets.ids.clone()
    row = int(torch.nonzero(batch.targets.streams[0] == LAYOUT.index["t"])[2])
    ids[0, row] += 1
    after = states(
        net,
        Packed(
            batch.inputs,
            Targets(ids, *[getattr(batch.targets, k) for k in ("positions", "streams", "reach", "labels")]),
        ),
    )
    changed = (before - after).abs().amax(-1)[0] > 1e-7
    spoken = batch.targets.streams[0] == LAYOUT.index["t"]
    assert changed.nonzero().flatten().tolist() == [i for i in spoken.nonzero().flatten().tolist() if i >= row]


def test_an_empty_input_is_legal():
    net = model()
    batch = collate([sample()], LAYOUT)
    nothing = torch.zeros(1, 1, dtype=torch.long)
    empty = Packed(Inputs(nothing, nothing, nothing - 1), batch.targets)
    assert torch.isfinite(states(net, empty)).all()


def test_decoding_step_by_step_equals_decoding_at_once():
    net = model()
    batch = collate([sample(0), sample(1)], LAYOUT)
    context = net.encode(batch.inputs)
    whole = net.decode(batch.targets, context)
    spoken = (batch.targets.streams[0] == LAYOUT.index["t"]).nonzero().flatten()
    caches = net.start(context)
    for column in spoken.tolist():
        one = Targets(
            *[
                getattr(batch.targets, k)[:, column : column + 1]
                for k in ("ids", "positions", "streams", "reach", "labels")
            ]
        )
        states, caches = net.step(one, None, caches)
        assert torch.allclose(states[:, 0], whole[:, column], atol=1e-5)


def test_caches_are_returned_and_stay_as_they_are():
    net = model()
    batch = collate([sample(0), sample(1)], LAYOUT)
    caches = net.start(net.encode(batch.inputs))
    one = Targets(*[getattr(batch.targets, k)[:, 4:5] for k in ("ids", "positions", "streams", "reach", "labels")])
    first, more = net.step(one, None, caches)
    again, _ = net.step(one, None, caches)
    assert torch.equal(first, again)
    assert [cache.k.shape[2] for cache in caches] == [0, 0] and [cache.k.shape[2] for cache in more] == [1, 1]
    kept = [cache.keep(torch.tensor([1])) for cache in more]
    alone = Targets(*[getattr(one, k)[1:] for k in ("ids", "positions", "streams", "reach", "labels")])
    assert torch.allclose(net.step(alone, None, kept)[0][0], net.step(one, None, more)[0][1], atol=1e-5)


def test_a_step_of_the_decoder_can_be_exported_for_any_length():
    class Step(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x, k, v, context_k, context_v):
            state, cache = self.block.step(x, Cache(k, v, context_k, context_v), None)
            return state, cache.k, cache.v

    block = model().decoder[0]
    tensors = lambda length: (torch.randn(2, 1, 32), *torch.randn(2, 2, 2, length, 16), *torch.randn(2, 2, 2, 5, 16))  # noqa: E731
    length = torch.export.Dim("length", min=2, max=256)
    shapes = ({}, {2: length}, {2: length}, {}, {})
    exported = torch.export.export(Step(block), tensors(4), dynamic_shapes=shapes).module()
    for length in (3, 30):
        given = tensors(length)
        expected = Step(block)(*given)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(exported(*given), expected, strict=True))
        assert expected[1].shape[2] == length + 1


def test_only_streams_in_the_batch_get_gradients():
    net = model().train()
    masker = Masker(LAYOUT, MaskingConfig(6, 6, (Component({"a.pixels": 1}, {"a": 1}),)))
    rng = np.random.default_rng(0)
    packed = masker({"a.pixels": rng.random((6, 6)), "a": rng.integers(0, 16, 6), "t": np.array([20, 3])}, rng)
    losses = net(collate([packed], LAYOUT))
    assert list(losses) == ["a"]
    losses["a"].backward()
    rows = net.output_table.grad.abs().sum(1) > 0
    assert rows[LAYOUT.outputs["a"].rows].all() and not rows[LAYOUT.outputs["t"].rows].any()


def test_a_set_with_one_more_stream_gives_the_others_the_same_numbers():
    net = model()
    larger = Layout([*LAYOUT.streams, Stream("x", "x", TokenSpace.grid(9, 2, 2))])
    other = Transformer(CONFIG, larger).eval()
    tensors = split_state(other) | split_state(net)
    fill_state(other, tensors.get, "memory")
    small, large = collate([sample()], LAYOUT), collate([sample()], LAYOUT)
    ids = large.inputs.ids.clone()
    for name in ("t",):
        here = large.inputs.streams == LAYOUT.index[name]
        ids[here] += larger.inputs[name].start - LAYOUT.inputs[name].start
    moved = Packed(Inputs(ids, large.inputs.positions, large.inputs.streams, large.inputs.dense), large.targets)
    assert torch.allclose(states(net, small), states(other, moved), atol=1e-6)


def test_weights_survive_splitting_and_a_subset_reads_only_its_own():
    net, fresh = model(), Transformer(CONFIG, LAYOUT)
    tensors = split_state(net)
    fill_state(fresh, tensors.get, "memory")
    assert all(torch.equal(tensor, split_state(fresh)[name]) for name, tensor in tensors.items())
    batch = collate([sample()], LAYOUT)
    assert torch.equal(states(net, batch), states(fresh, batch))
    subset = Transformer(CONFIG, Layout([s for s in LAYOUT.streams if s.modality == "g"]))
    asked = []
    fill_state(subset, lambda name: (asked.append(name), tensors[name])[1], "memory")
    assert not any(name.endswith((".t", ".a")) for name in asked)


def test_missing_and_misshapen_weights_are_named():
    tensors = split_state(model())
    with pytest.raises(CheckpointError, match=r"outputs\.a"):
        fill_state(Transformer(CONFIG, LAYOUT), lambda n: None if n == "outputs.a" else tensors[n], "f")
    with pytest.raises(CheckpointError, match=r"context_proj\.bias.*\(3,\).*\(32,\)"):
        fill_state(
            Transformer(CONFIG, LAYOUT), lambda n: torch.zeros(3) if n == "context_proj.bias" else tensors[n], "f"
        )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dim": 30}, "dim .* 30"),
        ({"heads": 5}, "dim 32 .* 5 heads"),
        ({"activation": "relu"}, "activation .* 'relu'"),
        ({"encoder_depth": 0}, "encoder_depth .* from 1"),
    ],
)
def test_impossible_configs_are_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig(**({"dim": 32, "heads": 2} | wrong))
