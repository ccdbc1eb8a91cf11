"""What training minimizes: an objective turns a batch into its share of the metrics of an update.

An update's samples are spread over processes and parts. Shares add up: the sum over all parts of all processes is what
one process would have computed from all samples at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")
Metrics = Mapping[str, Tensor]
StepFunction = Callable[[M, B], Metrics]


class Objective(ABC, Generic[M, B]):
    """Metrics of batches; "loss" is minimized, all are logged."""

    @abstractmethod
    def totals(self, batches: Sequence[B]) -> Tensor:
        """What the shares of an update are divided by, for the parts that this process has; summed over processes."""

    @abstractmethod
    def __call__(self, model: M, batch: B, totals: Tensor) -> Metrics:
        """The share that a batch has in the metrics of an update with these totals. Names depend on `totals` alone."""

    def problems(self, batch: B) -> Sequence[str]:
        """One line for each sample that could not be used and was replaced."""
        return ()


class MeanOf(Objective[Any, Any]):
    """The mean over batches of the same size of what a function (model, batch) -> metrics gives."""

    def __init__(self, step: StepFunction[Any, Any]) -> None:
        self.step = step

    def totals(self, batches: Sequence[Any]) -> Tensor:
        return torch.tensor(float(len(batches)))

    def __call__(self, model: Any, batch: Any, totals: Tensor) -> Metrics:
        return {name: value / totals for name, value in self.step(model, batch).items()}
