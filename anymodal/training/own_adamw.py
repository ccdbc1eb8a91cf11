"""What our own variants of AdamW share: a step moves each parameter that has a gradient, on its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class OwnAdamW(Optimizer):
    """A variant of AdamW; it says what it remembers of a parameter, and how it moves one."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the parameters that have a gradient; on the meta device only make what is remembered of them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    slots: dict[str, Tensor] = self.state[parameter]
                    if not slots:
                        slots.update(self._fresh(parameter))
                    if not parameter.is_meta:  # which rows moved, or how often, is not known there
                        self._move(parameter, slots, group)
        return loss

    @abstractmethod
    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is remembered of a parameter before its first step."""

    @abstractmethod
    def _move(self, parameter: Tensor, slots: dict[str, Tensor], group: dict[str, Any]) -> None:
        """Move a parameter by its gradient, and change what is remembered of it."""
