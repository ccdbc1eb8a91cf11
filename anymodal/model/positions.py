"""The joint table of the positions of all streams (4M, arXiv 2312.06647)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError
from anymodal.nn.init import normal
from anymodal.nn.sincos import sincos_1d, sincos_2d
from anymodal.spaces import LARGEST_TABLE, TokenSpace
from anymodal.tokens import Layout


class PositionCodes(NamedTuple):
    """The fixed code of every position (rows, dim), and which trained row, from 1, it has beside; 0 for none."""

    fixed: Tensor
    trained_row: Tensor


class PositionTable(nn.Module):
    """Rows for every position of a layout: fixed codes, and trained rows for spaces with `learned` positions.

    Those of grids with a shape have both, which are added.

    A lookup of rows (…,) gives codes (…, dim).
    """

    fixed: Tensor
    trained_row: Tensor

    def __init__(self, codes: PositionCodes) -> None:
        super().__init__()
        self.register_buffer("fixed", codes.fixed, persistent=False)
        self.register_buffer("trained_row", codes.trained_row, persistent=False)
        count = int(codes.trained_row.max()) if len(codes.trained_row) else 0
        self.trained = nn.Parameter(normal(count, codes.fixed.shape[1], std=0.02)) if count else None

    def forward(self, rows: Tensor) -> Tensor:
        codes = self.fixed[rows]
        if self.trained is None:
            return codes
        table = torch.cat([self.trained.new_zeros(1, self.trained.shape[1]), self.trained])
        return codes + table[self.trained_row[rows]]


def position_codes(layout: Layout, dim: int) -> PositionCodes:
    """The codes of a layout, always on the CPU, so that they have values even in a model built on the meta device.

    Raises ConfigError for more positions than a table may have.
    """
    if layout.positions.size * dim > LARGEST_TABLE:
        longest = max(layout.streams, key=lambda stream: layout.positions[stream.name].size).name
        raise ConfigError(
            f"codes of {layout.positions.size} positions, {layout.positions[longest].size} of them of {longest!r}, are"
            f" too many for the width {dim}: at most {LARGEST_TABLE // dim} fit"
        )
    with torch.device("cpu"):
        parts, trained_row = [], torch.zeros(layout.positions.size, dtype=torch.long)
        count = 0
        for stream in layout.streams:
            space, block = stream.space, layout.positions[stream.name]
            if isinstance(space, TokenSpace) and space.learned:
                parts.append(torch.zeros(block.size, dim) if space.shape is None else sincos_2d(*space.shape, dim))
                trained_row[block.rows] = torch.arange(1 + count, 1 + count + block.size)
                count += block.size
            elif space.shape is not None:
                parts.append(sincos_2d(*space.shape, dim))
            else:
                parts.append(sincos_1d(block.size, dim))
        return PositionCodes(torch.cat(parts), trained_row)
