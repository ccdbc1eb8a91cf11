"""Copies of weights in the layout that a product with few rows reads fastest, for a CPU and float32.

Such a product is bound by how fast its weights are read. With up to 3 rows a copy (inner, outer) on large pages is read
1.5 to 2.4 times as fast as the weights (outer, inner) are by `torch.nn.functional.linear`; with up to 32 rows blocks as
oneDNN packs them, 1.6 to 1.9 times. With more rows nothing is gained.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

TURNED, PACKED = 3, 32  # rows of the input, at most
MOST = 2**31  # bytes of copies a model may have
# A copy takes about as long as is saved by 40 products with one row, or by 13 with several.
PATIENCE, WEIGHT_OF_ONE, WEIGHT_OF_MORE = 40, 1, 3

RowsProduct = Callable[[Tensor], Tensor]  # (rows, inner) -> (rows, outer)


@attrs.frozen(eq=False)
class Copy:
    """A product with weights in another layout, for up to `rows` rows; `nbytes` is what they take."""

    product: RowsProduct
    rows: int
    nbytes: int


class WeightCopies:
    """The copies of one model: made when enough narrow products were asked for, kept as long as the model is.

    A copy is made again when its weights changed in place or lie elsewhere.
    """

    def __init__(self) -> None:
        self.waited = 0
        self._copies: dict[tuple[str, int], tuple[object, Tensor, Copy]] = {}

    @property
    def nbytes(self) -> int:
        """What the copies take."""
        return sum(copy.nbytes for *_, copy in self._copies.values())

    def wait(self, rows: int) -> bool:
        """Whether copies pay by now, after one more product of so many rows by each of the weights."""
        self.waited += WEIGHT_OF_ONE if rows == 1 else WEIGHT_OF_MORE
        return self.waited > PATIENCE and rows <= PACKED

    def get(self, name: str, weights: Sequence[Tensor], rows: int) -> Copy | None:
        """A product with weights (outer, inner) side by side for so many rows; None where there is no better layout.

        The name tells the weights from others of the model.
        """
        if not all(_plain(weight) for weight in weights):
            return None
        most = TURNED if rows <= TURNED else PACKED
        state, numbers = [_state(weight) for weight in weights], torch.cat([_spread(weight) for weight in weights])
        known = self._copies.pop((name, most), None)
        if known is None or known[0] != state or not torch.equal(known[1], numbers):
            size = sum(weight.nbytes for weight in weights)
            product = (_turned if most == TURNED else _packed)(weights) if self.nbytes + size <= MOST else None
            if product is None:
                return None
            known = state, numbers, Copy(product, most, size)
        self._copies[name, most] = known
        return known[2]


def _plain(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.is_inference()


def _state(weight: Tensor) -> tuple[object, ...]:
    """Where weights lie and how often they changed; an address alone may be that of others, which came to lie there."""
    return StorageWeakRef(weight.untyped_storage()), weight.data_ptr(), weight._version, weight.shape


def _spread(weight: Tensor) -> Tensor:
    """About one number of each row, the next one of the next: of what is written through `.data` no counter tells."""
    return weight.detach().reshape(-1)[:: weight.shape[1] + 1].clone()


def _turned(weights: Sequence[Tensor]) -> RowsProduct:
    """The product with a copy in memory of NumPy's, which asks for large pages."""
    copy = torch.from_numpy(np.empty((weights[0].shape[1], sum(len(weight) for weight in weights)), np.float32))
    start = 0
    for weight in weights:
        copy[:, start : start + len(weight)] = weight.detach().t()
        start += len(weight)
    return lambda x: torch.mm(x, copy)


def _packed(weights: Sequence[Tensor]) -> RowsProduct | None:
    """The product with blocks of oneDNN's, by the operators that compiled models use; None where there are none."""
    joined = torch.cat([weight.detach() for weight in weights]) if len(weights) > 1 else weights[0].detach()
    try:
        operators = torch.ops.mkldnn
        copy = operators._reorder_linear_weight(joined, PACKED)
        product = lambda x: operators._linear_pointwise(x, copy, None, "none", [], "")  # noqa: E731
        product(joined.new_zeros(1, joined.shape[1]))
    except (AttributeError, RuntimeError):
        return None
    return product


_OF_MODEL: weakref.WeakKeyDictionary[nn.Module, WeightCopies] = weakref.WeakKeyDictionary()


def weight_copies(model: nn.Module) -> WeightCopies:
    """The copies of a model; they go when it does."""
    return _OF_MODEL.setdefault(model, WeightCopies())
