"""Names of published weights against ours: which tensor becomes which part, and which hold nothing of their own.

Every tensor of a file must be a `Key`, and every key must be in the file, so that neither side loses a weight
unnoticed. Published shapes differ from ours by axes of size one and by joined axes, never in the order of the numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from anymodal.checkpoints.weights import Rows, check_kind, check_shape, copy
from anymodal.errors import CheckpointError, nearest

TABLE_TOLERANCE = 2e-3  # float16 checkpoints round their position tables


@attrs.frozen
class Key:
    """One tensor of a published file.

    `part` is our name of the weight; several keys may hold one part, then any of them is enough. Keys without a part
    hold a constant that `fixed` computes, or, without that, a tensor that 4M stores but never uses.
    """

    name: str
    shape: tuple[int, ...]
    part: str | None = None
    fixed: Callable[[], Tensor] | None = None

    @property
    def unused(self) -> bool:
        return self.part is None and self.fixed is None


class Reader:
    """The tensors of an open file under our names, after its keys were found to be exactly the expected ones."""

    def __init__(self, file: Any, keys: Iterable[Key], source: str) -> None:
        self.file, self.source = file, source
        self.keys = {key.name: key for key in keys}
        self.present = set(file.keys())
        self._check_names()
        self.holders: dict[str, list[Key]] = {}
        for key in self.keys.values():
            if key.part is not None and key.name in self.present:
                self.holders.setdefault(key.part, []).append(key)

    def _check_names(self) -> None:
        if extra := sorted(self.present - self.keys.keys()):
            hint = nearest(extra[0], self.keys)
            raise CheckpointError(f"{self.source} has a tensor {extra[0]!r} that its config does not explain{hint}")
        found = {self.keys[name].part for name in self.present}
        for key in self.keys.values():
            if key.name not in self.present and not key.unused and (key.part is None or key.part not in found):
                raise CheckpointError(f"{self.source} has no tensor {key.name!r}; it is incomplete or of another model")

    def check_headers(self, keys: Iterable[Key] | None = None) -> None:
        """Raise CheckpointError if a tensor has another shape than its key, or holds no floats; none is read."""
        for key in self.keys.values() if keys is None else keys:
            if key.name in self.present:
                self._rows(key)

    def _rows(self, key: Key) -> Rows:
        rows: Rows = self.file.get_slice(key.name)
        check_shape(rows, key.shape, key.name, self.source)
        check_kind(rows, torch.float32, key.name, self.source)
        return rows

    def tensor(self, key: Key) -> Tensor:
        """The tensor of a key. Raises CheckpointError if it has another shape, or holds no floats."""
        self._rows(key)
        tensor: Tensor = self.file.get_tensor(key.name)
        return tensor

    def copy(self, part: str, view: Tensor) -> bool:
        """Copy a weight by our name into `view`, whatever the shape of that; False if the file has none."""
        holders = self.holders.get(part)
        if not holders:
            return False
        rows = self._rows(holders[0])
        copy(rows, view.view(holders[0].shape), holders[0].name, self.source)
        for key in holders[1:]:
            if not torch.equal(self.tensor(key).to(view.dtype), view.view(key.shape)):
                raise CheckpointError(f"{self.source}: {holders[0].name!r} and {key.name!r} must be the same tensor")
        return True

    def __call__(self, part: str) -> Tensor | None:
        """A weight by our name in the published shape, or None; warns of numbers that are not finite."""
        holders = self.holders.get(part)
        if not holders:
            return None
        tensor, *others = [self.tensor(key) for key in holders]
        for key, other in zip(holders[1:], others, strict=True):
            if not torch.equal(tensor, other):
                raise CheckpointError(f"{self.source}: {holders[0].name!r} and {key.name!r} must be the same tensor")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            warnings.warn(f"tensor {holders[0].name!r} in {self.source} holds NaN or infinity", stacklevel=2)
        return tensor

    def check_constants(self, keys: Iterable[Key] | None = None) -> None:
        """Raise CheckpointError if a position table or a bias that must be zero holds something else."""
        for key in self.keys.values() if keys is None else keys:
            if key.fixed is not None and key.name in self.present:
                gap = (self.tensor(key).float() - key.fixed().reshape(key.shape)).abs().max()
                if not gap <= TABLE_TOLERANCE:
                    raise CheckpointError(
                        f"tensor {key.name!r} in {self.source} is {float(gap):.3g} off the constant that 4M has there"
                    )


def written(
    keys: Iterable[Key], parts: Mapping[str, Tensor], unused: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a published file: parts under their names, constants, and zeros for the unused ones not given."""
    for key in keys:
        if key.part is not None:
            value = parts[key.part]
        elif key.fixed is not None:
            value = key.fixed()
        else:
            value = (unused or {}).get(key.name, torch.zeros(key.shape))
        yield key.name, value.reshape(key.shape).contiguous().clone()
