"""Reconstruction losses by name: pure functions of a decoder's output and the value it should have had, to a scalar.

Unless stated otherwise both have the same shape, channels on axis 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from anymodal.errors import ConfigError, nearest

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean of squared differences."""
    return F.mse_loss(output, target)


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean of absolute differences."""
    return F.l1_loss(output, target)


def smooth_l1(output: Tensor, target: Tensor) -> Tensor:
    """Quadratic below a difference of 1, linear above."""
    return F.smooth_l1_loss(output, target)


def cross_entropy(output: Tensor, target: Tensor, ignore: int = -100) -> Tensor:
    """Logits (B, labels, H, W) against labels (B, H, W); positions labeled `ignore` do not count.

    Zero, with a gradient, where all positions are ignored. Rows of logits are several times faster than planes.
    """
    rows = output.movedim(1, -1).flatten(0, -2)
    total = F.cross_entropy(rows, target.long().flatten(), ignore_index=ignore, reduction="sum")
    return total / (target != ignore).sum().clamp(min=1)


def cosine(output: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine between the channel vectors, averaged over everything else; in [0, 2]."""
    return 1 - F.cosine_similarity(output, target, dim=1).mean()


def binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits; target: on where above 0, so maps of {0, 1} and of {-1, 1} both work."""
    return F.binary_cross_entropy_with_logits(output, (target > 0).to(output.dtype))


def balanced_bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits where the two sides weigh the same, however few positions one of them has.

    target: on where above 0, so maps of {0, 1} and of {-1, 1} both work.
    """
    on = target > 0
    losses = F.binary_cross_entropy_with_logits(output, on.to(output.dtype), reduction="none")
    sides = [losses[side].mean() for side in (on, ~on) if side.any()]
    return torch.stack(sides).mean()


LOSSES: dict[str, Loss] = {
    loss.__name__: loss for loss in (mse, l1, smooth_l1, cross_entropy, cosine, binary_cross_entropy, balanced_bce)
}


def loss_named(name: str) -> Loss:
    """The loss of that name; `ConfigError` if there is none."""
    if name not in LOSSES:
        raise ConfigError(f"no loss is called {name!r}{nearest(name, LOSSES)}; known: {', '.join(LOSSES)}.")
    return LOSSES[name]
