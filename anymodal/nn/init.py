"""First values of weights, and weights without values.

On the meta device nothing is drawn or computed: that would make PyTorch load its compiler, which takes a second.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


def empty_weights(module: M, dtype: torch.dtype | None = None) -> M:
    """Give a module that was built on the meta device weights on the CPU, which are still to be filled in."""
    state = module.state_dict()
    for name, tensor in state.items():
        kind = dtype if dtype and tensor.is_floating_point() else tensor.dtype
        state[name] = torch.empty(tensor.shape, dtype=kind, device="cpu")
    module.load_state_dict(state, assign=True)
    return module


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """Normal numbers of mean 0."""
    numbers = torch.empty(shape)
    return numbers if numbers.is_meta else nn.init.normal_(numbers, std=std)


def embedding(count: int, dim: int) -> nn.Embedding:
    """A layer that looks up rows (count, dim) of normal numbers."""
    return nn.Embedding.from_pretrained(normal(count, dim), freeze=False)


def directions(count: int, dim: int) -> Tensor:
    """Unit vectors (count, dim), uniform on the sphere."""
    vectors = normal(count, dim)
    return vectors if vectors.is_meta else F.normalize(vectors, dim=-1)
