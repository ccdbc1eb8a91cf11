"""The denoiser with a transformer in its middle: this file decides where it is told the codes and the time.

Convolutional levels around a transformer (simple diffusion, Hoogeboom et al. 2023): the codes are added to the tokens
of the transformer, or every block attends to them; its norms are shifted, scaled and gated by the time (adaLN-zero,
DiT, Peebles & Xie 2023).

Shapes: B batch, C channels, H W pixels or cells, h w grid of tokens, L latent width, N tokens in the middle, M codes, D
their width, E width of the time's embedding, K width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.nn.attention import attend
from anymodal.nn.init import normal
from anymodal.tokenizers.config import UViTConfig
from anymodal.tokenizers.networks.blocks import Double, Halve, Norm, ResidualBlock, TimeEmbedding, zeroed
from anymodal.tokenizers.networks.vit import Attention, FeedForward, position_table, resized_positions


class TimedBlock(nn.Module):
    """x += gate * attention(norm x), x += gate * mlp(norm x), with norms and gates from the time."""

    def __init__(self, config: UViTConfig, time: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(config.dim), Attention(config.dim, config.heads)
        self.norm2, self.mlp = nn.LayerNorm(config.dim), FeedForward(config.dim, nn.GELU(), config.expansion)
        self.modulation = nn.Linear(time, 4 * config.dim)
        self.gate = zeroed(nn.Linear(time, 2 * config.dim))

    def forward(self, x_BND: Tensor, time_BE: Tensor) -> Tensor:
        time_B1E = F.silu(time_BE)[:, None]
        shift_attn, scale_attn, shift_mlp, scale_mlp = self.modulation(time_B1E).chunk(4, -1)
        gate_attn, gate_mlp = self.gate(time_B1E).chunk(2, -1)
        x_BND = x_BND + gate_attn * self.attn(self.norm1(x_BND) * (1 + scale_attn) + shift_attn)
        return x_BND + gate_mlp * self.mlp(self.norm2(x_BND) * (1 + scale_mlp) + shift_mlp)


class CrossAttention(nn.Module):
    """Every token attends to every code; keys and values come from one packed projection (key/value, head, channel)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, codes_BMD: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        q_BHNK = self.q(x_BND).view(B, N, self.heads, -1).transpose(1, 2)
        k_BHMK, v_BHMK = self.kv(codes_BMD).view(B, codes_BMD.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(attend(q_BHNK, k_BHMK, v_BHMK).transpose(1, 2).reshape(B, N, D))


class CrossBlock(nn.Module):
    """As `TimedBlock`, with attention to the codes between: three norms and three gates from the time."""

    def __init__(self, config: UViTConfig, time: int) -> None:
        super().__init__()
        self.norm1, self.self_attn = nn.LayerNorm(config.dim), Attention(config.dim, config.heads)
        self.query_norm, self.context_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.cross_attn = CrossAttention(config.dim, config.heads)
        self.norm2, self.mlp = nn.LayerNorm(config.dim), FeedForward(config.dim, nn.GELU(), config.expansion)
        self.modulation = nn.Linear(time, 6 * config.dim)
        self.gate = zeroed(nn.Linear(time, 3 * config.dim))

    def forward(self, x_BND: Tensor, time_BE: Tensor, codes_BMD: Tensor) -> Tensor:
        time_B1E = F.silu(time_BE)[:, None]
        moved = self.modulation(time_B1E).chunk(6, -1)  # shift and scale of each norm
        gate_self, gate_cross, gate_mlp = self.gate(time_B1E).chunk(3, -1)
        x_BND = x_BND + gate_self * self.self_attn(self.norm1(x_BND) * (1 + moved[1]) + moved[0])
        queries_BND = self.query_norm(x_BND) * (1 + moved[3]) + moved[2]
        x_BND = x_BND + gate_cross * self.cross_attn(queries_BND, self.context_norm(codes_BMD))
        return x_BND + gate_mlp * self.mlp(self.norm2(x_BND) * (1 + moved[5]) + moved[4])


class Middle(nn.Module):
    """Maps (B, C, H, W), with codes repeated to their grid or attended to in their own, through the transformer."""

    positions: Tensor

    def __init__(self, config: UViTConfig, latent: int) -> None:
        super().__init__()
        width, time = config.widths[-1], 4 * config.widths[0]
        self.proj_in, self.cond_proj = nn.Linear(width, config.dim), nn.Linear(latent, config.dim)
        self.mask_token = nn.Parameter(normal(config.dim, std=0.02))  # published models have it, for hidden codes
        self.register_buffer("positions", position_table(config.dim, config.side, config.side), persistent=False)
        self.attends = config.conditioning == "xattn"
        kind = CrossBlock if self.attends else TimedBlock
        self.blocks = nn.ModuleList(kind(config, time) for _ in range(config.depth))
        self.proj_out = nn.Linear(config.dim, width)

    def forward(self, x_BCHW: Tensor, time_BE: Tensor, codes_BLhw: Tensor) -> Tensor:
        H, W = x_BCHW.shape[-2:]
        positions_ND = resized_positions(self.positions, (H, W))
        tokens_BND = self.proj_in(x_BCHW.flatten(2).mT) + positions_ND
        if self.attends:
            h, w = codes_BLhw.shape[-2:]
            places_MD = resized_positions(self.positions, (h, w))
            codes: tuple[Tensor, ...] = (self.cond_proj(codes_BLhw.flatten(2).mT) + places_MD,)
        else:
            codes_BNL = F.interpolate(codes_BLhw, size=(H, W), mode="nearest").flatten(2).mT
            tokens_BND, codes = tokens_BND + self.cond_proj(codes_BNL), ()
        for block in self.blocks:
            tokens_BND = block(tokens_BND, time_BE, *codes)
        return self.proj_out(tokens_BND).mT.reshape(x_BCHW.shape)


class Level(nn.Module):
    """Residual blocks of one width, and the change of size after them."""

    def __init__(self, blocks: list[ResidualBlock], resize: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.resize = resize

    def down(self, x_BCHW: Tensor, time_BE: Tensor, skips: list[Tensor]) -> Tensor:
        """The map at the next level; what every layer gives is added to `skips`."""
        for block in self.blocks:
            skips.append(x_BCHW := block(x_BCHW, time_BE))
        if self.resize is not None:
            skips.append(x_BCHW := self.resize(x_BCHW))
        return x_BCHW

    def up(self, x_BCHW: Tensor, time_BE: Tensor, skips: list[Tensor]) -> Tensor:
        """The map at the next level, each block joined with the last of `skips`, which it takes."""
        for block in self.blocks:
            x_BCHW = block(torch.cat([x_BCHW, skips.pop()], 1), time_BE)
        return x_BCHW if self.resize is None else self.resize(x_BCHW)


class UViT(nn.Module):
    """Noisy pictures (B, C, H, W), timesteps (B,) and codes (B, L, h, w) to predictions (B, C, H, W)."""

    def __init__(self, config: UViTConfig, channels: int, latent: int) -> None:
        super().__init__()
        first, last = config.widths[0], config.widths[-1]
        self.conv_in = nn.Conv2d(channels, first, config.patch, stride=config.patch)
        self.time = TimeEmbedding(first)
        down: list[Level] = []
        up: list[Level] = []
        width, skips = first, [first]
        for outputs in config.widths:
            blocks = []
            for _ in range(config.blocks):
                blocks.append(ResidualBlock(width, outputs, 4 * first))
                skips.append(width := outputs)
            coarser = len(down) < len(config.widths) - 1
            down.append(Level(blocks, Halve(width) if coarser else None))
            skips += [width] * coarser
        for outputs in reversed(config.widths):
            blocks = []
            for _ in range(config.blocks + 1):
                blocks.append(ResidualBlock(width + skips.pop(), outputs, 4 * first))
                width = outputs
            up.append(Level(blocks, Double(width) if skips else None))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.shrink = Halve(last) if config.halved else None
        self.middle = Middle(config, latent)
        self.grow = Double(last) if config.halved else None
        self.norm_out = Norm(width)
        self.conv_out = nn.ConvTranspose2d(width, channels, config.patch, stride=config.patch)

    def forward(self, x_BCHW: Tensor, timesteps_B: Tensor, codes_BLhw: Tensor) -> Tensor:
        time_BE = self.time(timesteps_B)
        h_BCHW = self.conv_in(x_BCHW)
        skips = [h_BCHW]
        for level in self.down:
            h_BCHW = level.down(h_BCHW, time_BE, skips)  # type: ignore[operator]
        if self.shrink is not None and self.grow is not None:
            h_BCHW = self.grow(self.middle(self.shrink(h_BCHW), time_BE, codes_BLhw))
        else:
            h_BCHW = self.middle(h_BCHW, time_BE, codes_BLhw)
        for level in self.up:
            h_BCHW = level.up(h_BCHW, time_BE, skips)  # type: ignore[operator]
        return self.conv_out(F.silu(self.norm_out(h_BCHW)))
