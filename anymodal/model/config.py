"""The numbers that make a Transformer; with its layout they determine every weight's shape."""

from __future__ import annotations

import attrs

from anymodal.errors import ConfigError

WIDEST, DEEPEST = 2**20, 1000  # more is a damaged file


@attrs.frozen(kw_only=True)
class ModelConfig:
    """An encoder-decoder of equal width (4M, arXiv 2312.06647).

    The MLP's hidden width is int(dim * mlp_ratio), and int(2/3) of that when `gated`. `registers` are learned input
    tokens without a place. `tied_streams` shares the stream embeddings between encoder and decoder, `separate_targets`
    lets a target attend only to targets of its own stream; with `causal_targets` also grids are left to right.
    """

    dim: int = 768
    encoder_depth: int = 12
    decoder_depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    gated: bool = True
    activation: str = "silu"
    qkv_bias: bool = False
    proj_bias: bool = False
    mlp_bias: bool = False
    norm_bias: bool = False
    qk_norm: bool = False
    registers: int = 0
    tied_streams: bool = False
    separate_targets: bool = True
    causal_targets: bool = False

    def __attrs_post_init__(self) -> None:
        if self.dim < 4 or self.dim % 4 or self.dim > WIDEST:
            raise ConfigError(f"dim must be a multiple of 4 (2-D positions need it) from 4 to {WIDEST}, got {self.dim}")
        if self.heads < 1 or self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} is not a multiple of {self.heads} heads")
        if self.activation not in ("silu", "gelu"):
            raise ConfigError(f"activation must be 'silu' or 'gelu', got {self.activation!r}")
        depths = (self.encoder_depth, self.decoder_depth)
        if min(depths) < 1 or max(depths) > DEEPEST:
            raise ConfigError(f"encoder_depth and decoder_depth must be from 1 to {DEEPEST}")
        if not 0 <= self.registers <= WIDEST:
            raise ConfigError(f"registers must be from 0 to {WIDEST}, got {self.registers}")
        if not 0 < self.mlp_ratio <= WIDEST or not 1 <= self.hidden <= WIDEST:
            raise ConfigError(f"mlp_ratio must leave the MLP a width from 1 to {WIDEST}, got {self.mlp_ratio}")

    @property
    def hidden(self) -> int:
        width = int(self.dim * self.mlp_ratio)
        return int(2 * width / 3) if self.gated else width
