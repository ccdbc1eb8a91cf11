"""The joint table of the positions of all streams (4M, arXiv 2312.06647)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError
from anymodal.nn.init import normal
from anymodal.nn.sincos import sincos_1d, sincos_2d
from anymodal.spaces import LARGEST_TABLE, Stream
from anymodal.tokens import Layout


class PositionTable(nn.Module):
    """Rows for every position of a layout: fixed codes, and trained rows for spaces with `learned` positions.

    Those of grids with a shape have both, which are added. A lookup of rows (…,) gives codes (…, dim).

    Args:
        fixed: the fixed code of every position (rows, dim).
        layout: the positions.
        targets: whether it is read by targets, else by inputs.
    """

    fixed: Tensor
    trained_row: Tensor  # which trained row, from 1, a position has beside its code; 0 for none

    def __init__(self, fixed: Tensor, layout: Layout, *, targets: bool) -> None:
        super().__init__()
        count, trained_row = 0, torch.zeros(len(fixed), dtype=torch.long, device="cpu")
        for stream in streams_with_learned(layout, targets=targets):
            block = layout.positions[stream.name]
            trained_row[block.rows] = torch.arange(1 + count, 1 + count + block.size, device="cpu")
            count += block.size
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("trained_row", trained_row, persistent=False)
        self.trained = nn.Parameter(normal(count, fixed.shape[1], std=0.02)) if count else None

    def forward(self, rows: Tensor) -> Tensor:
        codes = self.fixed[rows]
        if self.trained is None:
            return codes
        table = torch.cat([self.trained.new_zeros(1, self.trained.shape[1]), self.trained])
        return codes + table[self.trained_row[rows]]


def streams_with_learned(layout: Layout, *, targets: bool) -> Iterator[Stream]:
    """Streams with trained rows in the table of targets or of inputs, in their order there."""
    return (s for s in layout.streams if s.space.learned and not (targets and s.is_dense))


def position_codes(layout: Layout, dim: int) -> Tensor:
    """The fixed codes (positions, dim) of a layout, zero where positions are learned without them.

    They are on the CPU always, so that they have values even in a model built on the meta device. Raises ConfigError
    for more positions than a table may have.
    """
    if layout.positions.size * dim > LARGEST_TABLE:
        longest = max(layout.streams, key=lambda stream: layout.positions[stream.name].size).name
        raise ConfigError(
            f"codes of {layout.positions.size} positions, {layout.positions[longest].size} of them of {longest!r}, are"
            f" too many for the width {dim}: at most {LARGEST_TABLE // dim} fit"
        )
    with torch.device("cpu"):
        parts = []
        for stream in layout.streams:
            space, size = stream.space, layout.positions[stream.name].size
            if space.shape is not None:
                parts.append(sincos_2d(*space.shape, dim))
            else:
                parts.append(torch.zeros(size, dim) if space.learned else sincos_1d(size, dim))
        return torch.cat(parts)
