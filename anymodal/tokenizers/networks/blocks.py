"""What both denoisers are built of: residual blocks that know the time, and changes of size by two.

Shapes: B batch, C channels, H W pixels or cells, E width of the time's embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.tokenizers.config import GROUPS


def time_waves(timesteps_B: Tensor, dim: int) -> Tensor:
    """Sinusoids (B, dim), float32, of timesteps: cosines, then sines, of dim / 2 frequencies 10000^(-k / (dim / 2))."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=timesteps_B.device)
    angles = timesteps_B.float()[:, None] * torch.exp(-math.log(10000) / half * steps)
    return torch.cat([angles.cos(), angles.sin()], 1)


class TimeEmbedding(nn.Module):
    """Timesteps (B,) to vectors (B, 4 * dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, 4 * dim)

    def forward(self, timesteps_B: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(time_waves(timesteps_B, self.dim).to(self.fc1.weight.dtype))))


class Norm(nn.GroupNorm):
    """Group norm in float32."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels, eps=1e-5)

    def forward(self, input: Tensor) -> Tensor:
        if input.dtype == self.weight.dtype == torch.float32:
            return super().forward(input)
        parts = (input.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps)
        return F.group_norm(*parts).to(input.dtype)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm x)) + time))); starts as the identity where the width stays."""

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs)
        self.norm2, self.conv2 = Norm(outputs), zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x_BCHW: Tensor, time_BE: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW))) + self.time(F.silu(time_BE))[:, :, None, None]
        return self.skip(x_BCHW) + self.conv2(F.silu(self.norm2(h_BCHW)))


class Halve(nn.Module):
    """Half the side, by a convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(x_BCHW)


class Double(nn.Module):
    """Twice the side: every cell repeated, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all weights zero, so that what it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
