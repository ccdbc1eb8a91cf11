"""The numbers that make a Transformer; with its layout they determine every weight's shape."""

from __future__ import annotations

import attrs

from anymodal.errors import ConfigError


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
        if self.dim < 4 or self.dim % 4:
            raise ConfigError(f"dim must be a positive multiple of 4 (2-D positions need it), got {self.dim}")
        if self.heads < 1 or self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} is not a multiple of {self.heads} heads")
        if self.activation not in ("silu", "gelu"):
            raise ConfigError(f"activation must be 'silu' or 'gelu', got {self.activation!r}")
        if min(self.encoder_depth, self.decoder_depth) < 1:
            raise ConfigError("encoder_depth and decoder_depth must be at least 1")

    @property
    def hidden(self) -> int:
        width = int(self.dim * self.mlp_ratio)
        return int(2 * width / 3) if self.gated else width
