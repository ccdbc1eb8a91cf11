"""Sine-cosine position codes, made in float64 (Vaswani et al. 2017; in two dimensions He et al. 2022, app. A.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_1d(length: int, dim: int) -> Tensor:
    """Codes (length, dim), float32: [sin(p w), cos(p w)] with dim/2 frequencies w_k = 10000^(-k / (dim/2))."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float64)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * 10000.0 ** (-steps / half)
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Codes (rows * columns, dim), row-major: the 1-D code of the row, then of the column, with dim/4 frequencies."""
    half = dim // 2
    row = sincos_1d(rows, half)[:, None].expand(rows, columns, half)
    column = sincos_1d(columns, half)[None].expand(rows, columns, half)
    return torch.cat([row, column], 2).reshape(rows * columns, 2 * half)
