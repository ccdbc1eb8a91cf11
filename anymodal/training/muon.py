"""Muon in the numbers that a device multiplies fast: this file decides how its updates are made orthogonal.

PyTorch makes them orthogonal in bfloat16 everywhere. Where no hardware multiplies it, as on processors with AVX2 alone,
that takes four fifths of the time of a training step of `tiny`; there it is done in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from anymodal.nn.device import fast_precision

# Of the quintic iteration, chosen for its slope at zero: five steps bring singular values to about 0.7 to 1.2.
COEFFICIENTS, STEPS, SMALLEST = (3.4445, -4.7750, 2.0315), 5, 1e-7


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) with Nesterov momentum, for matrices; what it keeps is what `torch.optim.Muon` keeps.

    Updates are scaled to AdamW's size: 0.2 times the root of the longer side (Liu et al. 2025, arXiv 2502.16982,
    section 2.2). Weights decay by lr * weight_decay.
    """

    def __init__(self, matrices: Sequence[Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights that have gradients."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                average = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                update = orthogonal(weight.grad.lerp(average, momentum))
                weight.mul_(1 - lr * group["weight_decay"])
                weight.add_(update, alpha=-lr * 0.2 * max(weight.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthogonal rows or columns, by some Newton-Schulz steps in what the device does fast."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(getattr(torch, fast_precision(matrix.device)))
    x = x.T if tall else x
    x = x / x.norm().clamp(min=SMALLEST)
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
