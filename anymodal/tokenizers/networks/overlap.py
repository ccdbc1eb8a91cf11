"""What joins the patches of a decoder: this file decides how pixels see across the borders of their patch.

The grid of tokens is doubled some times, with convolutions between; the last ones see the patches too, and what they
make of each cell is added to these. It starts as nothing, so that a trained decoder goes on from where it is.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N = h * w tokens (row-major), D width, K channels within, R
pixels along a cell.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.tokenizers.config import OverlapConfig
from anymodal.tokenizers.networks.blocks import zeroed


class Joined(nn.Module):
    """x + conv(gelu(conv(x))), starting as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x_BKhw: Tensor) -> Tensor:
        return x_BKhw + self.conv2(F.gelu(self.conv1(x_BKhw)))


class Overlap(nn.Module):
    """Token features (B, N, D) and the patches made of them (B, C, H, W) to pictures (B, C, H, W)."""

    def __init__(self, config: OverlapConfig, dim: int, channels: int, patch: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.doublings = nn.ModuleList(nn.Linear(a, 4 * b) for a, b in pairwise((dim, *config.widths)))
        self.joins = nn.ModuleList(Joined(width) for width in config.widths)
        self.rest = patch // 2 ** len(config.widths)
        width, pixels = config.widths[-1], channels * self.rest**2
        self.conv_in = nn.Conv2d(width + pixels, width, 3, padding=1)
        self.conv_out = zeroed(nn.Conv2d(width, pixels, 3, padding=1))

    def forward(self, x_BND: Tensor, patches_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        x_BhwK = self.norm(x_BND).unflatten(1, grid)
        for doubling, join in zip(self.doublings, self.joins, strict=True):
            x_BhwK = join(F.pixel_shuffle(doubling(x_BhwK).movedim(-1, 1), 2)).movedim(1, -1)
        x_BKhw = torch.cat([x_BhwK.movedim(-1, 1), F.pixel_unshuffle(patches_BCHW, self.rest)], 1)
        return patches_BCHW + F.pixel_shuffle(self.conv_out(F.gelu(self.conv_in(x_BKhw))), self.rest)
