"""Copies of weights that lie the other way round, for products with one to three rows on a CPU.

Such a product is bound by how fast its weights are read. Row by row of the input, from a copy (inner, outer) on large
pages, that is 1.5 to 2.4 times as fast as by `torch.nn.functional.linear`; with more rows it is slower.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

ROWS = 3  # of the input, at most
MOST = 2**31  # bytes of copies a model may have
# A copy takes about as long as is saved by 40 products with one row, or by 13 with two or three.
PATIENCE, WEIGHT_OF_ONE, WEIGHT_OF_MORE = 40, 1, 3


class TurnedWeights:
    """The copies of one model: made when enough narrow products were asked for, kept as long as the model is.

    A copy is made again when its weights changed in place or lie elsewhere.
    """

    def __init__(self) -> None:
        self.waited = 0
        self._copies: dict[str, tuple[object, Tensor]] = {}

    @property
    def nbytes(self) -> int:
        """What the copies take."""
        return sum(copy.nbytes for _, copy in self._copies.values())

    def wait(self, rows: int) -> bool:
        """Whether copies pay by now, after one more product of so many rows by each of the weights."""
        self.waited += WEIGHT_OF_ONE if rows == 1 else WEIGHT_OF_MORE
        return self.waited > PATIENCE

    def get(self, name: str, weights: Sequence[Tensor]) -> Tensor | None:
        """Weights (outer, inner) side by side as (inner, sum of outer); None where the weights must serve themselves.

        The name tells them from others of the model.
        """
        if not all(_turnable(weight) for weight in weights):
            return None
        state = [(weight.data_ptr(), weight._version, weight.shape) for weight in weights]
        known = self._copies.pop(name, None)
        if known is None or known[0] != state:
            if self.nbytes + sum(weight.nbytes for weight in weights) > MOST:
                return None
            known = state, _turned(weights)
        self._copies[name] = known
        return known[1]


def _turnable(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.is_inference()


def _turned(weights: Sequence[Tensor]) -> Tensor:
    """A copy in memory of NumPy's, which asks for large pages."""
    copy = torch.from_numpy(np.empty((weights[0].shape[1], sum(len(weight) for weight in weights)), np.float32))
    start = 0
    for weight in weights:
        copy[:, start : start + len(weight)] = weight.detach().t()
        start += len(weight)
    return copy


_OF_MODEL: weakref.WeakKeyDictionary[nn.Module, TurnedWeights] = weakref.WeakKeyDictionary()


def turned_weights(model: nn.Module) -> TurnedWeights:
    """The copies of a model; they go when it does."""
    return _OF_MODEL.setdefault(model, TurnedWeights())
