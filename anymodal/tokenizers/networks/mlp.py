"""The residual MLP on both sides of a vector codebook.

Shapes: ... any leading dimensions, C input channels, W width, O output channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from anymodal.tokenizers.config import MLPConfig


class ResidualMLP(nn.Module):
    """x + linear(gelu(linear(norm x))), `expansion` times as wide inside."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, expansion * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.act(self.fc1(self.norm(x))))


class BottleneckMLP(nn.Module):
    """Vectors (..., C) to vectors (..., O) through residual blocks that are widest in their middle.

    Bachmann et al. 2023, "Scaling MLPs: a tale of inductive bias", section 3.
    """

    def __init__(self, config: MLPConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(inputs, config.width)
        self.blocks = nn.Sequential(*(ResidualMLP(config.width, config.expansion) for _ in range(config.blocks)))
        self.linear_out = nn.Linear(config.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_out(self.blocks(self.linear_in(x)))
