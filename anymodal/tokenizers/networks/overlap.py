"""What joins the patches of a decoder: this file decides how pixels see across the borders of their patch.

The grid of tokens is doubled until it has a cell for each pixel, with convolutions between; what comes out is added to
the patches. It starts as nothing, so that a trained decoder goes on from where it is.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N = h * w tokens (row-major), D width, K channels within.
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

    def __init__(self, config: OverlapConfig, dim: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.doublings = nn.ModuleList(nn.Linear(a, 4 * b) for a, b in pairwise((dim, *config.widths)))
        self.joins = nn.ModuleList(Joined(width) for width in config.widths)
        last = config.widths[-1]
        self.conv_in = nn.Conv2d(last + channels, last, 3, padding=1)
        self.conv_out = zeroed(nn.Conv2d(last, channels, 3, padding=1))

    def forward(self, x_BND: Tensor, patches_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        x_BhwK = self.norm(x_BND).unflatten(1, grid)
        for doubling, join in zip(self.doublings, self.joins, strict=True):
            x_BhwK = join(F.pixel_shuffle(doubling(x_BhwK).movedim(-1, 1), 2)).movedim(1, -1)
        x_BKHW = torch.cat([x_BhwK.movedim(-1, 1), patches_BCHW], 1)
        return patches_BCHW + self.conv_out(F.gelu(self.conv_in(x_BKHW)))
