"""Weights averaged over the steps of a run."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Exponential moving average, in float32, of every floating-point entry of a model's state.

    At update t (from 1) the decay is min(decay, (1 + t) / (10 + t)), so that the initial weights are soon forgotten.
    Entries that are not floating-point (counters, flags) are copied. Those of `frozen` names, which never change, are
    left out.
    """

    def __init__(self, model: nn.Module, decay: float, frozen: Collection[str] = ()) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {
            name: value.detach().to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
            for name, value in model.state_dict().items()
            if name not in frozen
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        present = model.state_dict()
        for name, average in self.state.items():
            value = present[name]
            if value.is_floating_point():
                averages.append(average)
                values.append(value.float())
            else:
                average.copy_(value)
        get_ema_multi_avg_fn(decay)(averages, values, self.updates)
