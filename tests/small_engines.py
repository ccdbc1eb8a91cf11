"""Small networks that the engine of training trains for a few steps, stopped and compared."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.training.engine import Engine
from anymodal.training.runtime import Runtime
from anymodal.training.schedules import CosineSchedule
from anymodal.training.settings import TrainingSettings

CPU = Runtime(device="cpu")


SETTINGS = TrainingSettings(
    steps=10,
    batch_size=4,
    lr=1e-2,
    schedule=CosineSchedule(warmup_steps=3),
    ema=0.9,
    precision="float32",
    log_every=2,
    save_every=5,
)


class Noisy(nn.Module):
    """A small network with everything that makes resuming hard: dropout, a buffer that learns, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.drop(self.norm(self.first(x))))


class Tables(nn.Module):
    """A table that is looked up, a matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Parameter(torch.ones(6, 4)), nn.Linear(4, 3)
        self.lookups, self.sparse_lookups = (self.table,), False

    def forward(self, ids: Tensor) -> Tensor:
        return self.linear(F.embedding(ids, self.table, sparse=self.sparse_lookups))


def batches_from(start: int) -> Iterator[Tensor]:
    for index in itertools.count(start):
        yield torch.randn(4, 3, generator=torch.Generator().manual_seed(index))


def squared(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    loss = F.mse_loss(model(x), x)
    return {"loss": loss, "twice": 2 * loss}


def trained(
    out: Path | None = None, resume: bool = False, batches: Any = batches_from, **changes: Any
) -> Engine[Noisy]:
    engine = Engine(Noisy(), attrs.evolve(SETTINGS, **changes), out, runtime=CPU)
    engine.run(batches, squared, resume=resume)
    return engine


def assert_same_state(left: nn.Module, right: nn.Module) -> None:
    expected = right.state_dict()
    assert [name for name, value in left.state_dict().items() if not torch.equal(value, expected[name])] == []


def assert_same_weights(left: Engine[Any], right: Engine[Any]) -> None:
    """What the runs ended with, averages included."""
    expected = right.weights()
    assert [name for name, value in left.weights().items() if not torch.equal(value, expected[name])] == []


def interrupted_after(step: int, number: int = signal.SIGINT) -> Callable[[int], Iterator[Tensor]]:
    """Batches whose source sends this process a signal while step number `step` (from 1) is being prepared."""

    def batches(start: int) -> Iterator[Tensor]:
        for index, batch in enumerate(batches_from(start), start + 1):
            if index == step:
                os.kill(os.getpid(), number)
            yield batch

    return batches
