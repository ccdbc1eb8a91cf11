"""The joint table of the positions of all streams (4M, arXiv 2312.06647)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anymodal.initial import normal
from anymodal.sincos import sincos_1d, sincos_2d
from anymodal.spaces import TokenSpace
from anymodal.tokens import Layout


class PositionTable(nn.Module):
    """Rows for every position of a layout: fixed codes, or trained rows for spaces with `learned` positions.

    A lookup of rows (…,) gives codes (…, dim).
    """

    fixed: Tensor
    trained_row: Tensor

    def __init__(self, layout: Layout, dim: int) -> None:
        super().__init__()
        with torch.device("cpu"):  # so that the codes have values even in a model built on the meta device
            fixed, trained_row = _codes(layout, dim)
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("trained_row", trained_row, persistent=False)
        count = int(trained_row.max()) if len(trained_row) else 0
        self.trained = nn.Parameter(normal(count, dim, std=0.02)) if count else None

    def forward(self, rows: Tensor) -> Tensor:
        codes = self.fixed[rows]
        if self.trained is None:
            return codes
        table = torch.cat([self.trained.new_zeros(1, self.trained.shape[1]), self.trained])
        return codes + table[self.trained_row[rows]]


def _codes(layout: Layout, dim: int) -> tuple[Tensor, Tensor]:
    """The fixed code of every position (rows, dim), and which trained row, from 1, it has beside; 0 for none."""
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
    return torch.cat(parts), trained
