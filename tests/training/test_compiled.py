"""Blocks that go through the compiler are compiled for the first batches, and then no more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partialmethod

import numpy as np
import pytest
import torch
from torch import nn

from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.engine import Engine
from anymodal.training.runtime import Runtime
from anymodal.training.settings import ParallelConfig, TrainingSettings

LAYOUT = Layout([Stream("a", "a", TokenSpace.grid(40, 8, 8)), Stream("b", "b", TokenSpace.grid(30, 8, 8))])
WARM_UP = 3  # a first size, another one, and the average of weights


def batch(inputs: int, targets: int) -> Packed:
    rng, samples = np.random.default_rng(0), []
    for more in (0, 1):
        packer = Packer(LAYOUT)
        packer.add_input("a", rng.integers(0, 40, inputs + more), np.arange(inputs + more))
        packer.add_grid_target("b", rng.integers(0, 30, targets), np.arange(targets))
        samples.append(packer.pack())
    return collate(samples, LAYOUT)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_no_size_of_a_batch_compiles_blocks_again_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a backend that writes code: what is compiled how often does not depend on it."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    torch._dynamo.reset()
    seen: list[int] = []

    def batches(start: int) -> Iterator[Packed]:
        sizes = itertools.product((9, 17, 30, 41), (5, 12, 23))
        for number, (inputs, targets) in enumerate(sizes):
            if number == WARM_UP:
                torch._dynamo.config.error_on_recompile = True  # raises where a block is compiled once more
            seen.append(inputs)
            yield batch(inputs, targets)

    def step(model: nn.Module, packed: Packed) -> dict[str, torch.Tensor]:
        return {"loss": torch.stack(list(model(packed).values())).mean()}

    torch.manual_seed(0)
    net = Transformer(ModelConfig(dim=16, encoder_depth=2, decoder_depth=2, heads=2), LAYOUT)
    settings = TrainingSettings(steps=12, batch_size=2, lr=1e-3, precision="float32")
    monkeypatch.setattr(torch._dynamo.config, "error_on_recompile", False)
    Engine(net, settings, None, Runtime(device="cpu", parallel=ParallelConfig(compile=True))).run(batches, step)
    assert len(seen) == 12
    torch._dynamo.config.error_on_recompile = False
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
