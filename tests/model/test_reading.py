"""Inputs that are encoded in parts: the first part as always, and the next ones after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymodal.model import ModelConfig, Transformer
from anymodal.model.reading import Reading, decode
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate

LAYOUT = Layout([Stream(name, name, TokenSpace.grid(16, 2, 3)) for name in "ab"])


def inputs(*counts: int, start: int = 0) -> Packed:
    """Samples with so many tokens of the grid `a`, from a position on."""
    samples = []
    for count in counts:
        packer = Packer(LAYOUT)
        packer.add_input("a", np.arange(count) + 3, np.arange(count) + start)
        packer.add_grid_target("b", np.arange(4), np.arange(4))
        samples.append(packer.pack())
    return collate(samples, LAYOUT, input_tokens=1)


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("qk_norm", [True, False])
@torch.inference_mode()
def test_one_part_is_what_encoding_at_once_gives_and_more_of_nothing_changes_nothing(registers, qk_norm):
    torch.manual_seed(0)
    config = ModelConfig(dim=32, encoder_depth=2, decoder_depth=2, heads=2, registers=registers, qk_norm=qk_norm)
    net, batch = Transformer(config, LAYOUT).eval(), inputs(4, 0, 2)
    reading = Reading(net, batch.inputs)
    whole = net.decode(batch.targets, net.encode(batch.inputs))
    assert torch.allclose(decode(net, batch.targets, [reading]), whole, atol=1e-5)
    reading.add(inputs(0, 0, 0).inputs)
    assert torch.allclose(decode(net, batch.targets, [reading]), whole, atol=1e-5)
    reading.add(inputs(0, 2, 0, start=4).inputs)
    after = decode(net, batch.targets, [reading])
    assert torch.allclose(after[[0, 2]], whole[[0, 2]], atol=1e-5) and not torch.allclose(after[1], whole[1], atol=1e-3)
    if not registers:  # nothing was there before it
        alone = inputs(2, start=4)
        assert torch.allclose(after[1:2], net.decode(alone.targets, net.encode(alone.inputs)), atol=1e-5)
    reading.keep(torch.tensor([2, 1]))
    targets = inputs(0, 0).targets
    assert torch.allclose(decode(net, targets, [reading]), after[[2, 1]], atol=1e-5)


@torch.inference_mode()
def test_a_sample_of_which_all_is_forgotten_reads_nothing():
    """As one without inputs does, and not the mean of what is hidden; its neighbor goes on."""
    torch.manual_seed(0)
    config, batch = ModelConfig(dim=32, encoder_depth=1, decoder_depth=2, heads=2), inputs(4, 2)
    net = Transformer(config, LAYOUT).eval()
    reading, whole = Reading(net, batch.inputs), net.decode(batch.targets, net.encode(batch.inputs))
    reading.hide(0, LAYOUT.index["a"], torch.arange(4))
    nothing = inputs(0)
    after = decode(net, batch.targets, [reading])
    assert torch.allclose(after[:1], net.decode(nothing.targets, net.encode(nothing.inputs)), atol=1e-5)
    assert torch.allclose(after[1], whole[1], atol=1e-5)
    reading.add(inputs(2, 0, start=4).inputs)
    alone = inputs(2, start=4)
    again = decode(net, batch.targets, [reading])
    assert torch.allclose(again[:1], net.decode(alone.targets, net.encode(alone.inputs)), atol=1e-5)
