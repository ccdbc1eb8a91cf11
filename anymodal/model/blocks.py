"""Attention, MLP and the pre-norm blocks of encoder and decoder (4M, arXiv 2312.06647).

Shapes: B batch, N input tokens, M target tokens, T tokens so far, D width, H heads, K head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.model.config import ModelConfig
from anymodal.nn.attention import attend

NORM_EPS = 1e-6


def layer_norm(width: int, config: ModelConfig) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=NORM_EPS, bias=config.norm_bias)


class Cache:
    """Keys and values of one decoder block: self-attention's grow token by token, the context's are computed once."""

    def __init__(self, context_k: Tensor, context_v: Tensor, capacity: int) -> None:
        batch, heads, _, width = context_k.shape
        self.context = (context_k, context_v)
        self.k = context_k.new_empty(batch, heads, capacity, width)
        self.v = torch.empty_like(self.k)
        self.used = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        end = self.used + k.shape[2]
        self.k[:, :, self.used : end], self.v[:, :, self.used : end] = k, v
        self.used = end
        return self.k[:, :, :end], self.v[:, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Keep only the given rows of the batch."""
        self.context = (self.context[0][rows], self.context[1][rows])
        self.k, self.v = self.k[rows], self.v[rows]


class _Heads(nn.Module):
    """Splits into heads, and optionally normalizes queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.width = config.heads, config.dim // config.heads
        self.q_norm = layer_norm(self.width, config) if config.qk_norm else None
        self.k_norm = layer_norm(self.width, config) if config.qk_norm else None

    def split(self, x_BNX: Tensor, parts: int) -> list[Tensor]:
        """(B, N, parts * D) -> `parts` tensors (B, H, N, K); the layout along the last axis is (part, head, width)."""
        batch, length, _ = x_BNX.shape
        return list(x_BNX.view(batch, length, parts, self.heads, self.width).permute(2, 0, 3, 1, 4).unbind(0))

    def normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        if self.q_norm is None or self.k_norm is None:
            return q, k
        return self.q_norm(q).to(q.dtype), self.k_norm(k).to(k.dtype)

    @staticmethod
    def merge(x_BHNK: Tensor) -> Tensor:
        batch, heads, length, width = x_BHNK.shape
        return x_BHNK.transpose(1, 2).reshape(batch, length, heads * width)


class SelfAttention(_Heads):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=config.qkv_bias)
        self.proj = nn.Linear(config.dim, config.dim, bias=config.proj_bias)

    def forward(self, x_BND: Tensor, bias: Tensor | None, cache: Cache | None = None) -> Tensor:
        q, k, v = self.split(self.qkv(x_BND), 3)
        q, k = self.normed(q, k)
        if cache is not None:
            k, v = cache.append(k, v)
        return self.proj(self.merge(attend(q, k, v, bias)))


class CrossAttention(_Heads):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.q = nn.Linear(config.dim, config.dim, bias=config.qkv_bias)
        self.kv = nn.Linear(config.dim, 2 * config.dim, bias=config.qkv_bias)
        self.proj = nn.Linear(config.dim, config.dim, bias=config.proj_bias)

    def keys_values(self, context_BND: Tensor, alive_B: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values; rows that are not `alive` have no inputs at all, and values of zero."""
        k, v = self.split(self.kv(context_BND), 2)
        return (k if self.k_norm is None else self.k_norm(k).to(k.dtype)), v * alive_B[:, None, None, None].to(v.dtype)

    def forward(self, x_BMD: Tensor, keys_values: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
        (q,) = self.split(self.q(x_BMD), 1)
        q = q if self.q_norm is None else self.q_norm(q).to(q.dtype)
        k, v = keys_values
        return self.proj(self.merge(attend(q, k, v, bias)))


class MLP(nn.Module):
    """fc2(act(fc1 x)), or fc2(act(fc1 x) * fc3 x) when gated."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.hidden, bias=config.mlp_bias)
        self.fc2 = nn.Linear(config.hidden, config.dim, bias=config.mlp_bias)
        self.fc3 = nn.Linear(config.dim, config.hidden, bias=config.mlp_bias) if config.gated else None
        self.act = F.silu if config.activation == "silu" else F.gelu

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.fc1(x))
        return self.fc2(hidden if self.fc3 is None else hidden * self.fc3(x))


class EncoderBlock(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1, self.attn = layer_norm(config.dim, config), SelfAttention(config)
        self.norm2, self.mlp = layer_norm(config.dim, config), MLP(config)

    def forward(self, x_BND: Tensor, bias: Tensor | None) -> Tensor:
        x_BND = x_BND + self.attn(self.norm1(x_BND), bias)
        return x_BND + self.mlp(self.norm2(x_BND))


class DecoderBlock(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1, self.self_attn = layer_norm(config.dim, config), SelfAttention(config)
        self.query_norm, self.context_norm = layer_norm(config.dim, config), layer_norm(config.dim, config)
        self.cross_attn = CrossAttention(config)
        self.norm2, self.mlp = layer_norm(config.dim, config), MLP(config)

    def forward(
        self,
        x_BMD: Tensor,
        context_BND: Tensor,
        alive_B: Tensor,
        self_bias: Tensor | None,
        context_bias: Tensor | None,
    ) -> Tensor:
        keys_values = self.cross_attn.keys_values(self.context_norm(context_BND), alive_B)
        return self._rest(x_BMD, keys_values, self_bias, context_bias, None)

    def start(self, context_BND: Tensor, alive_B: Tensor, capacity: int) -> Cache:
        """The cache for decoding up to `capacity` tokens one after the other."""
        return Cache(*self.cross_attn.keys_values(self.context_norm(context_BND), alive_B), capacity)

    def step(self, x_BTD: Tensor, cache: Cache, context_bias: Tensor | None) -> Tensor:
        return self._rest(x_BTD, cache.context, None, context_bias, cache)

    def _rest(
        self,
        x: Tensor,
        keys_values: tuple[Tensor, Tensor],
        self_bias: Tensor | None,
        context_bias: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        x = x + self.self_attn(self.norm1(x), self_bias, cache)
        x = x + self.cross_attn(self.query_norm(x), keys_values, context_bias)
        return x + self.mlp(self.norm2(x))
