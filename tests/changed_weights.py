"""Weights that differ from those a test began with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def other_weights(module: nn.Module) -> Iterator[None]:
    """In the body, a weight is another."""
    weight = next(module.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1e-3)
        try:
            yield
        finally:
            weight.copy_(before)
