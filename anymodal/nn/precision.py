"""In which numbers a network that is used multiplies: those its device does fast, if that pays."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from anymodal.nn.device import fast_precision

Precision = Literal["auto", "bfloat16", "float32"]
WIDE = 384  # narrower networks spend their time on other things than products


def settled(precision: Precision, weight: Tensor, width: int) -> Literal["bfloat16", "float32"]:
    """What a precision comes to where the weights are, in a network of that width; only float32 weights have one."""
    if weight.dtype != torch.float32:
        return "float32"
    if precision != "auto":
        return precision
    return fast_precision(weight.device) if width >= WIDE else "float32"


def products(precision: Precision, weight: Tensor, width: int) -> AbstractContextManager[object]:
    """A block in which products with float32 weights are in that precision."""
    if torch.compiler.is_exporting() or settled(precision, weight, width) == "float32":
        return nullcontext()
    return torch.autocast(weight.device.type, torch.bfloat16)
