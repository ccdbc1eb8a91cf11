"""Weights that move inside the backward pass: each as soon as its gradient is there, which is then freed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from anymodal.training.sparse_adamw import length, solid


class StepsInBackward:
    """The steps of optimizers, taken for one parameter at a time while gradients are computed.

    The numbers are those of steps that are taken afterwards: what a parameter takes part in was computed with it before
    its gradient is complete. A parameter whose gradient is not finite stays as it is.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self._lengths: list[Tensor] = []
        self._left_alone: set[Tensor] | None = None  # None while no step is taken
        self._optimizers = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
        for parameter in self._optimizers:
            parameter.register_post_accumulate_grad_hook(self._move)

    def begin(self, loss: Tensor, unused: Iterable[Tensor]) -> None:
        """Take steps in the next backward pass, of all but the `unused` parameters; none where a loss is not finite."""
        self._lengths = []
        self._left_alone = set(unused) if bool(torch.isfinite(loss)) else None

    def end(self) -> Tensor:
        """The joint length of the gradients that there were; not a number where no step could be taken."""
        taken, self._left_alone = self._left_alone is not None, None
        if not taken or not self._lengths:
            return torch.tensor(torch.nan if not taken else 0.0)
        return torch.stack(self._lengths).norm()

    def _move(self, parameter: Tensor) -> None:
        if self._left_alone is None:
            return
        if parameter not in self._left_alone:
            (gradient,) = solid([parameter])
            norm = length([gradient.detach()])
            self._lengths.append(norm)
            if bool(torch.isfinite(norm)):
                self._optimizers[parameter].step()
        parameter.grad = None
