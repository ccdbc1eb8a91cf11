"""Sine-cosine position codes, made in float64 (Vaswani et al. 2017; in two dimensions He et al. 2022, app. A.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_1d(length: int, dim: int) -> Tensor:
    """Codes (length, dim), float32: [sin(p w), cos(p w)] with dim/2 frequencies w_k = 10000^(-k / (dim/2))."""
    return _line(torch.arange(length, dtype=torch.float64), dim)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Codes (rows * columns, dim), row-major: the 1-D code of the row, then of the column, with dim/4 frequencies."""
    return sincos_2d_at(torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), dim)


def sincos_2d_at(rows_R: Tensor, columns_C: Tensor, dim: int) -> Tensor:
    """As `sincos_2d`, of rows and columns that lie at any places, float64: (R * C, dim)."""
    half, shape = dim // 2, (len(rows_R), len(columns_C))
    row = _line(rows_R, half)[:, None].expand(*shape, half)
    column = _line(columns_C, half)[None].expand(*shape, half)
    return torch.cat([row, column], 2).reshape(-1, 2 * half)


def _line(places_P: Tensor, dim: int) -> Tensor:
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float64)
    angles = places_P[:, None] * 10000.0 ** (-steps / half)
    return torch.cat([angles.sin(), angles.cos()], 1).float()
