"""How the two averages of AdamW are kept between steps: as they are, in half the bytes, or in a quarter of them.

`MOMENTS` has the ways by name; another distribution adds its own with `MOMENTS.add`, or by an entry point in the group
"anymodal.moments_kinds". Steps read and write some rows (of the first dimension) of a parameter at a time.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from anymodal.config.tables import SettingsTable

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from anymodal.lazy import torch

NAMES = ("exp_avg", "exp_avg_sq")
PART = 2**19  # numbers that a step holds in float32 at a time, so that they stay in the caches of a processor
NOISE = 2**20  # numbers that decide about rounding
STRIDE = 0x9E3779B1  # from one step to the next: far from any simple fraction of NOISE

Slots = Mapping[str, Any]
Rows = Any  # a slice, or numbers of rows (n,)


@frozen(kw_only=True)
class Moments(ABC):
    """A way of keeping the averages of a gradient and of its square."""

    name: str = field(init=False)

    @abstractmethod
    def fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is kept of a parameter before its first step: tensors of zeros, each with its rows."""

    @abstractmethod
    def read(self, slots: Slots, rows: Rows) -> tuple[Tensor, Tensor]:
        """Both averages of some rows, which nobody else holds, in the precision that steps compute in."""

    @abstractmethod
    def write(self, slots: Slots, rows: Rows, mean: Tensor, square: Tensor, step: int) -> None:
        """Keep both averages of some rows, after the step of that number."""


MOMENTS: SettingsTable[Moments] = SettingsTable(Moments, "moments kind", default="float32")  # type: ignore[type-abstract]


@MOMENTS.add
@frozen(kw_only=True)
class Whole(Moments):
    """In the type of the weights: 8 bytes a weight."""

    name: str = field(init=False, default="float32")

    def fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        return {name: torch.zeros_like(parameter, dtype=self._type(parameter)) for name in NAMES}

    def _type(self, parameter: Tensor) -> torch.dtype:
        return parameter.dtype

    def read(self, slots: Slots, rows: Rows) -> tuple[Tensor, Tensor]:
        mean, square = (local(slots[name])[rows] for name in NAMES)
        return (mean.clone(), square.clone()) if isinstance(rows, slice) else (mean, square)

    def write(self, slots: Slots, rows: Rows, mean: Tensor, square: Tensor, step: int) -> None:
        for name, value in zip(NAMES, (mean, square), strict=True):
            put(slots[name], rows, value)


@MOMENTS.add
@frozen(kw_only=True)
class Half(Whole):
    """In bfloat16: 4 bytes a weight.

    Rounding is to nearest: a moment that changes by less than 1/256 of itself in a step stands still, which with betas
    up to 0.95 is the case only near where it would settle.
    """

    name: str = field(init=False, default="bfloat16")

    def _type(self, parameter: Tensor) -> torch.dtype:
        return torch.bfloat16

    def read(self, slots: Slots, rows: Rows) -> tuple[Tensor, Tensor]:
        mean, square = (local(slots[name])[rows].float() for name in NAMES)
        return mean, square


@MOMENTS.add
@frozen(kw_only=True)
class Quarter(Moments):
    """In 8 bits with a scale for each row (after Dettmers et al. 2022, arXiv 2110.02861): 2 bytes a weight.

    What is kept is the sign and square root of the mean, and the fourth root of the mean square, as shares of the
    largest of the row: fine steps for small numbers. Rounding is up or down at random such that averages stay what they
    are, for with rounding to nearest they would stand still; it depends on the number of the step alone. A mean square
    is never rounded to zero, by which a step would be divided. What has one dimension is kept in float32.
    """

    name: str = field(init=False, default="8bit")

    def fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        if parameter.ndim < 2:
            return Whole().fresh(parameter)
        slots = {}
        for name, kind in zip(NAMES, (torch.int8, torch.uint8), strict=True):
            slots[name] = torch.zeros_like(parameter, dtype=kind)
            slots[f"{name}_scale"] = torch.zeros_like(parameter.detach().flatten(1)[:, :1], dtype=torch.float32)
        return slots

    def read(self, slots: Slots, rows: Rows) -> tuple[Tensor, Tensor]:
        if "exp_avg_scale" not in slots:
            return Whole().read(slots, rows)
        mean, spread = (decoded(local(slots[name])[rows], local(slots[f"{name}_scale"])[rows]) for name in NAMES)
        return mean, spread.square_()

    def write(self, slots: Slots, rows: Rows, mean: Tensor, square: Tensor, step: int) -> None:
        if "exp_avg_scale" not in slots:
            return Whole().write(slots, rows, mean, square, step)
        for name, value in zip(NAMES, (mean, square.sqrt()), strict=True):
            codes, scale = encoded(value, local(slots[name]).dtype, step)
            put(slots[name], rows, codes)
            put(slots[f"{name}_scale"], rows, scale)
        return None


def encoded(values: Tensor, kind: torch.dtype, step: int) -> tuple[Tensor, Tensor]:
    """Codes (n, ...) and scales (n, 1) of values (n, ...): code² / most² x scale, with the sign of the code.

    Between two codes the nearer one is the likelier, so that the mean over steps is the value. Unsigned codes are at
    least 1.
    """
    most = torch.iinfo(kind).max
    sizes = values.abs()
    scale = sizes.flatten(1).amax(1, keepdim=True)
    column = scale.clamp(min=torch.finfo(scale.dtype).tiny).view(-1, *[1] * (values.ndim - 1))
    squares = sizes.div_(column).mul_(most**2)
    code = squares.sqrt().floor_().clamp_(max=most)
    above = squares.sub_(code * code)  # of the 2 code + 1 to the next one
    code += (noise(values.numel(), step, values.device).view(values.shape) * (2 * code + 1) < above).to(code.dtype)
    return (code.copysign_(values) if kind.is_signed else code.clamp_(min=1)).to(kind), scale


def decoded(codes: Tensor, scale: Tensor) -> Tensor:
    """The values (n, ...) float32 of codes and scales."""
    numbers = codes.float()
    share = (scale / torch.iinfo(codes.dtype).max ** 2).view(-1, *[1] * (codes.ndim - 1))
    return (numbers * numbers.abs()).mul_(share)


def noise(count: int, step: int, device: torch.device) -> Tensor:
    """Random numbers (count,) from 0 to 1, of which each place gets others in each step."""
    first = step * STRIDE % (NOISE - PART)
    table = _numbers(device)
    return table[first : first + count] if count <= PART else table.repeat(math.ceil(count / NOISE) + 1)[first:][:count]


@functools.lru_cache(4)
def _numbers(device: torch.device) -> Tensor:
    return torch.rand(NOISE, generator=torch.Generator().manual_seed(0)).to(device)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies in this process, with at least one dimension."""
    here: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return here if here.ndim else here.view(1)


def put(slot: Tensor, rows: Rows, value: Tensor) -> None:
    """Write some rows of what is kept."""
    if isinstance(rows, slice):
        local(slot)[rows].copy_(value)
    else:
        slot.index_copy_(0, rows, value.to(slot.dtype))
