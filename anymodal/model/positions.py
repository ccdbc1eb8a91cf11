"""Sine-cosine position codes, and the joint table of the positions of all streams (4M, arXiv 2312.06647)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anymodal.spaces import TokenSpace
from anymodal.tokens import Layout


def sincos_1d(length: int, dim: int) -> Tensor:
    """Codes (length, dim): [sin(p w), cos(p w)] with dim/2 frequencies w_k = 10000^(-k / (dim/2))."""
    half = dim // 2
    angles = torch.arange(length)[:, None].double() * _frequencies(half)
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Codes (rows * columns, dim), row-major: the 1-D code of the row, then of the column, with dim/4 frequencies."""
    quarter = dim // 4
    row = torch.arange(rows)[:, None].double() * _frequencies(quarter)
    column = torch.arange(columns)[:, None].double() * _frequencies(quarter)
    row_code = torch.cat([row.sin(), row.cos()], 1)[:, None].expand(rows, columns, 2 * quarter)
    column_code = torch.cat([column.sin(), column.cos()], 1)[None].expand(rows, columns, 2 * quarter)
    return torch.cat([row_code, column_code], 2).reshape(rows * columns, dim).float()


def _frequencies(count: int) -> Tensor:
    return 10000.0 ** (-torch.arange(count).double() / count)


class PositionTable(nn.Module):
    """Rows for every position of a layout: fixed codes, or trained rows for spaces with `learned` positions.

    A lookup of rows (…,) gives codes (…, dim).
    """

    fixed: Tensor
    trained_row: Tensor

    def __init__(self, layout: Layout, dim: int) -> None:
        super().__init__()
        parts, trained = [], torch.zeros(layout.rows("positions"), dtype=torch.long)
        count = 0
        for stream in layout.streams:
            space, block = stream.space, layout.positions[stream.name]
            if isinstance(space, TokenSpace) and space.learned:
                parts.append(torch.zeros(block.size, dim))
                trained[block.rows] = torch.arange(1 + count, 1 + count + block.size)
                count += block.size
            elif space.shape is not None:
                parts.append(sincos_2d(*space.shape, dim))
            else:
                parts.append(sincos_1d(block.size, dim))
        self.register_buffer("fixed", torch.cat(parts), persistent=False)
        self.register_buffer("trained_row", trained, persistent=False)
        self.trained = nn.Parameter(torch.randn(count, dim) * 0.02) if count else None

    def forward(self, rows: Tensor) -> Tensor:
        codes = self.fixed[rows]
        if self.trained is None:
            return codes
        table = torch.cat([self.trained.new_zeros(1, self.trained.shape[1]), self.trained])
        return codes + table[self.trained_row[rows]]
