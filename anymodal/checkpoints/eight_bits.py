"""Weights in 8 bits: whole numbers from -127 to 127, and for each row the number that a step stands for.

A row is all that belongs to one index of the first axis; its step is its largest magnitude / 127, so that every number
comes back within 1 / 254 of that magnitude. In a file the whole numbers have the name of the tensor, and the steps,
float32 (rows,), that name and `STEPS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anymodal.errors import CheckpointError

if TYPE_CHECKING:
    from anymodal.checkpoints.weights import FileRows

STEPS = ".steps"
LARGEST = 127
SHORTEST = 16  # numbers of a row; steps of shorter ones take more than 8 bits save


def fits(tensor: Tensor) -> bool:
    """Whether a tensor is worth 8 bits: finite floats in rows that are not short."""
    long = tensor.is_floating_point() and tensor.ndim > 1 and tensor[:1].numel() >= SHORTEST
    return long and bool(torch.isfinite(tensor).all())


def in_eight_bits(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """What a file holds of a tensor (rows, ...) that `fits`."""
    rows = tensor.detach().float()
    largest = rows.flatten(1).abs().amax(1)
    steps = largest / LARGEST
    divisor = steps.clamp(min=torch.finfo(torch.float32).tiny)
    whole = (rows / along(divisor, rows)).round().clamp(-LARGEST, LARGEST).to(torch.int8)
    return {name: whole.contiguous(), f"{name}{STEPS}": steps}


def without_loss(tensor: Tensor) -> Tensor:
    """The tensor in half precision where that is exactly what it holds, else as it is."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def along(steps: Tensor, rows: Tensor) -> Tensor:
    """Numbers (rows,) as they are multiplied with rows (rows, ...)."""
    return steps.view(-1, *[1] * (rows.ndim - 1))


class ScaledRows:
    """A tensor in 8 bits, read as the floats that it stands for. Raises CheckpointError for steps that do not fit."""

    dtype = "F32"

    def __init__(self, whole: FileRows, steps: FileRows, name: str, source: str) -> None:
        self._whole, self.shape = whole, whole.shape
        if steps.dtype != "F32" or len(self.shape) < 2 or tuple(steps.shape) != (self.shape[0],):
            raise CheckpointError(
                f"{name!r} in {source} has 8 bits and the shape {tuple(self.shape)}, its steps are {steps.dtype} of"
                f" shape {tuple(steps.shape)}; it is damaged"
            )
        self._steps = steps.whole()

    def __getitem__(self, part: slice) -> Tensor:
        whole = self._whole[part].float()
        return whole * along(self._steps[part], whole)

    def whole(self) -> Tensor:
        return self[:]
