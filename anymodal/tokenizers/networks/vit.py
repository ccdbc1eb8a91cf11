"""The vision transformer on both sides of a grid codebook: this file decides how images become token features and back.

Pre-norm blocks (ViT, Dosovitskiy et al. 2021) without a class token or final norm, a fixed 2-D sine-cosine position
table that is resized to the grid at hand, and an optional last MLP with tanh. Any multiple of the patch is a valid
size, and sides need not be equal; the row axis comes first everywhere.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N = h * w tokens (row-major), D width,
P = C * patch * patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.nn.attention import attend
from anymodal.nn.sincos import sincos_2d
from anymodal.tokenizers.config import OverlapConfig, ViTConfig
from anymodal.tokenizers.networks.overlap import Overlap


def patchify(x_BCHW: Tensor, patch: int) -> Tensor:
    """Cut images into tokens (B, N, P), each laid out (channel, row, column)."""
    B, C, H, W = x_BCHW.shape
    cells = x_BCHW.reshape(B, C, H // patch, patch, W // patch, patch).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(B, -1, C * patch * patch)


def unpatchify(x_BNP: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """The inverse of `patchify` for a grid of (rows, columns): images (B, C, H, W)."""
    B, (h, w) = x_BNP.shape[0], grid  # len() would fix the batch of an exported graph
    cells = x_BNP.reshape(B, h, w, -1, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(B, -1, h * patch, w * patch)


def position_table(dim: int, h: int, w: int) -> Tensor:
    """Fixed 2-D position table (dim, h, w), float32: the code of the row, then of the column; see `sincos_2d`.

    Always made on the CPU, so that it has values even in a model built on the meta device.
    """
    with torch.device("cpu"):
        return sincos_2d(h, w, dim).T.reshape(dim, h, w)


def resized_positions(table_Dhw: Tensor, grid: tuple[int, int]) -> Tensor:
    """The table (N, D) for a grid of (rows, columns), resized bicubically where the grid is not the table's own."""
    if table_Dhw.shape[1:] != grid:
        table_Dhw = F.interpolate(table_Dhw[None], size=grid, mode="bicubic", align_corners=False)[0]
    return table_Dhw.flatten(1).T


class FeedForward(nn.Module):
    """Linear, activation, linear, `expansion` times as wide inside."""

    def __init__(self, dim: int, activation: nn.Module, expansion: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, expansion * dim)
        self.act = activation
        self.fc2 = nn.Linear(expansion * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Attention(nn.Module):
    """Every token attends to every token; one packed projection laid out (query/key/value, head, channel)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        q, k, v = self.qkv(x_BND).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(B, N, D))


class Block(nn.Module):
    """x += attention(norm x); x += mlp(norm x)."""

    def __init__(self, dim: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, nn.GELU(), expansion)

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.attn(self.norm1(x_BND))
        return x_BND + self.mlp(self.norm2(x_BND))


class Trunk(nn.Module):
    """What encoder and decoder share: positions, blocks and the last MLP, on tokens of one width."""

    positions: Tensor

    def __init__(self, config: ViTConfig, image_size: int) -> None:
        super().__init__()
        side = image_size // config.patch
        self.register_buffer("positions", position_table(config.dim, side, side), persistent=False)
        self.blocks = nn.ModuleList(Block(config.dim, config.heads, config.expansion) for _ in range(config.depth))
        self.norm_mlp = nn.LayerNorm(config.dim, eps=1e-6) if config.post_mlp else None
        self.post_mlp = FeedForward(config.dim, nn.Tanh(), config.expansion) if config.post_mlp else None

    def run_blocks(self, x_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        x_BND = x_BND + resized_positions(self.positions, grid)
        for block in self.blocks:
            x_BND = block(x_BND)
        return x_BND

    def run_post_mlp(self, x_BND: Tensor) -> Tensor:
        if self.post_mlp is None or self.norm_mlp is None:
            return x_BND
        return x_BND + self.post_mlp(self.norm_mlp(x_BND))


class ViTEncoder(Trunk):
    """Images or feature maps (B, C, H, W) to token features (B, N, D)."""

    def __init__(self, config: ViTConfig, channels: int, image_size: int) -> None:
        super().__init__(config, image_size)
        self.stride = config.stride
        self.proj = nn.Linear(channels * self.stride**2, config.dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        grid = (x_BCHW.shape[2] // self.stride, x_BCHW.shape[3] // self.stride)
        x_BND = self.run_blocks(self.proj(patchify(x_BCHW, self.stride)), grid)
        # The features decide which code is nearest, so what follows the blocks keeps the precision of the weights.
        with torch.autocast(x_BND.device.type, enabled=False):
            return self.run_post_mlp(x_BND.to(self.proj.weight.dtype))


class ViTDecoder(Trunk):
    """Token features (B, N, D) on a grid of (rows, columns) to images or feature maps (B, C, H, W)."""

    def __init__(
        self,
        config: ViTConfig,
        channels: int,
        image_size: int,
        refine: bool = False,
        overlap: OverlapConfig | None = None,
    ) -> None:
        super().__init__(config, image_size)
        self.stride = config.stride
        self.out_proj = nn.Linear(config.dim, channels * self.stride**2)
        self.out_conv = nn.Sequential(*(ConvNeXtBlock(channels) for _ in range(2 if refine else 0)))
        self.overlap = Overlap(overlap, config.dim, channels, self.stride) if overlap else None

    def forward(self, x_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        x_BND = self.run_post_mlp(self.run_blocks(x_BND, grid))
        patches_BCHW = self.out_conv(unpatchify(self.out_proj(x_BND), grid, self.stride))
        return patches_BCHW if self.overlap is None else self.overlap(x_BND, patches_BCHW, grid)


class ConvNeXtBlock(nn.Module):
    """A residual block on pixels: 7x7 depth-wise convolution, norm, MLP, layer scale (Liu et al. 2022, section 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = self.norm(self.dwconv(x_BCHW).permute(0, 2, 3, 1))
        x_BHWC = self.gamma * self.pwconv2(F.gelu(self.pwconv1(x_BHWC)))
        return x_BCHW + x_BHWC.permute(0, 3, 1, 2)
