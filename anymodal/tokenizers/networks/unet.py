"""The convolutional denoiser: this file decides how a noisy picture, a time and a map of codes become a prediction.

ADM (Dhariwal & Nichol 2021) on patches: a picture is cut into patches that become channels, the codes are repeated to
the same grid and joined to them, and a UNet with attention on its coarse levels predicts patches.

Shapes: B batch, C channels, H W pixels or cells, h w grid of tokens, L latent width, E width of the time's embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.nn.attention import attend
from anymodal.tokenizers.config import UNetConfig
from anymodal.tokenizers.networks.blocks import Double, Halve, Norm, ResidualBlock, TimeEmbedding, zeroed


class MapAttention(nn.Module):
    """Every cell of a map attends to every cell, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zeroed(nn.Linear(channels, channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        cells_BNC = self.norm(x_BCHW).flatten(2).mT
        q, k, v = self.qkv(cells_BNC)[:, None].chunk(3, -1)
        mixed_BNC = self.proj(attend(q, k, v)[:, 0])
        return x_BCHW + mixed_BNC.mT.reshape(x_BCHW.shape)


class Chain(nn.ModuleList):
    """Layers one after the other; residual blocks are told the time."""

    def forward(self, x_BCHW: Tensor, time_BE: Tensor) -> Tensor:
        for layer in self:
            x_BCHW = layer(x_BCHW, time_BE) if isinstance(layer, ResidualBlock) else layer(x_BCHW)
        return x_BCHW


class UNet(nn.Module):
    """Noisy pictures (B, C, H, W), timesteps (B,) and codes (B, L, h, w) to predictions (B, C, H, W)."""

    def __init__(self, config: UNetConfig, channels: int, latent: int) -> None:
        super().__init__()
        self.patch = config.patch
        pixels, base = channels * config.patch**2, config.channels
        self.time = TimeEmbedding(base)
        embedding = 4 * base

        def block(inputs: int, outputs: int, level: int) -> list[nn.Module]:
            attention = [MapAttention(outputs)] if 2**level in config.attention else []
            return [ResidualBlock(inputs, outputs, embedding), *attention]

        width = base
        down, skips = [Chain([nn.Conv2d(pixels + latent, base, 3, padding=1)])], [base]
        deepest = len(config.multipliers) - 1
        for level, multiplier in enumerate(config.multipliers):
            for _ in range(config.blocks):
                down.append(Chain(block(width, base * multiplier, level)))
                width = base * multiplier
                skips.append(width)
            if level < deepest:
                down.append(Chain([Halve(width)]))
                skips.append(width)
        up = []
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            for index in range(config.blocks + 1):
                layers = block(width + skips.pop(), base * multiplier, level)
                width = base * multiplier
                if level > 0 and index == config.blocks:
                    layers.append(Double(width))
                up.append(Chain(layers))
        bottom = base * config.multipliers[-1]
        before, after = (ResidualBlock(bottom, bottom, embedding) for _ in range(2))
        middle = [before, MapAttention(bottom), after]
        self.down, self.middle, self.up = nn.ModuleList(down), Chain(middle), nn.ModuleList(up)
        self.norm_out = Norm(width)
        self.conv_out = zeroed(nn.Conv2d(width, pixels, 3, padding=1))

    def forward(self, x_BCHW: Tensor, timesteps_B: Tensor, codes_BLhw: Tensor) -> Tensor:
        patches_BCHW = F.pixel_unshuffle(x_BCHW, self.patch)
        codes_BLHW = F.interpolate(codes_BLhw, size=patches_BCHW.shape[-2:], mode="nearest")
        time_BE = self.time(timesteps_B)
        h_BCHW, skips = torch.cat([patches_BCHW, codes_BLHW], 1), []
        for chain in self.down:
            h_BCHW = chain(h_BCHW, time_BE)
            skips.append(h_BCHW)
        h_BCHW = self.middle(h_BCHW, time_BE)
        for chain in self.up:
            h_BCHW = chain(torch.cat([h_BCHW, skips.pop()], 1), time_BE)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h_BCHW))), self.patch)
