"""Attention, MLP and the pre-norm blocks of encoder and decoder (4M, arXiv 2312.06647).

Shapes: B batch, N input tokens, M target tokens, T tokens so far, D width, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.model.config import ModelConfig
from anymodal.nn.attention import attend

NORM_EPS = 1e-6


def layer_norm(width: int, config: ModelConfig) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=NORM_EPS, bias=config.norm_bias)


class Read(NamedTuple):
    """What some rows of a batch read of their inputs: keys and values (B, H, N, K), and a bias (B, 1, 1, N) if any."""

    k: Tensor
    v: Tensor
    bias: Tensor | None


class Source(NamedTuple):
    """Inputs of some rows of a batch: tokens (B, N, D), which rows (B,) have any, and a bias (B, 1, 1, N)."""

    tokens: Tensor
    alive: Tensor
    bias: Tensor


def attend_each(q_BHMK: Tensor, reads: Sequence[Read]) -> Tensor:
    """Attention (B, H, M, K) of the first rows to the first read, and so on: inputs are not padded to one another."""
    if len(reads) == 1:
        return attend(q_BHMK, *reads[0])
    parts = q_BHMK.split([len(read.k) for read in reads])
    return torch.cat([attend(part, *read) for part, read in zip(parts, reads, strict=True)])


class Cache(NamedTuple):
    """Keys and values of one decoder block, never changed in place: decoding returns a new one.

    k, v (B, H, T, K): of the tokens so far, in self-attention.
    context_k, context_v (B, H, N, K): of the encoder's output, in cross-attention.
    """

    k: Tensor
    v: Tensor
    context_k: Tensor
    context_v: Tensor

    def keep(self, rows: Tensor) -> Cache:
        """The cache of the given rows of the batch alone."""
        return Cache(*(part[rows] for part in self))


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

    def forward(self, x_BND: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = self.queries_keys_values(x_BND)
        return self.attended(q, k, v, bias)

    def queries_keys_values(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.split(self.qkv(x_BND), 3)
        return *self.normed(q, k), v

    def attended(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
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

    def forward(self, x_BMD: Tensor, reads: Sequence[Read]) -> Tensor:
        (q,) = self.split(self.q(x_BMD), 1)
        q = q if self.q_norm is None else self.q_norm(q).to(q.dtype)
        return self.proj(self.merge(attend_each(q, reads)))


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

    def more(self, x_BND: Tensor, known: Sequence[Tensor], bias: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The states of tokens that come after others, of which keys and values (B, H, T, K) are known; all of those.

        The bias (B, 1, 1, T + N) is that of the others and of the tokens.
        """
        q, *new = self.attn.queries_keys_values(self.norm1(x_BND))
        k, v = (torch.cat(parts, 2) for parts in zip(known, new, strict=True)) if known else new
        x_BND = x_BND + self.attn.attended(q, k, v, bias)
        return x_BND + self.mlp(self.norm2(x_BND)), (k, v)


class DecoderBlock(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1, self.self_attn = layer_norm(config.dim, config), SelfAttention(config)
        self.query_norm, self.context_norm = layer_norm(config.dim, config), layer_norm(config.dim, config)
        self.cross_attn = CrossAttention(config)
        self.norm2, self.mlp = layer_norm(config.dim, config), MLP(config)

    def forward(self, x_BMD: Tensor, sources: Sequence[Source], self_bias: Tensor | None) -> Tensor:
        """The states of targets; the first rows read the first source, and so on."""
        reads = [
            Read(*self.cross_attn.keys_values(self.context_norm(source.tokens), source.alive), source.bias)
            for source in sources
        ]
        return self.read(x_BMD, reads, self_bias)

    def read(self, x_BMD: Tensor, reads: Sequence[Read], self_bias: Tensor | None) -> Tensor:
        """The states of targets for what they read."""
        return self._rest(x_BMD + self.self_attn(self.norm1(x_BMD), self_bias), reads)

    def start(self, context_BND: Tensor, alive_B: Tensor) -> Cache:
        """The cache before the first token."""
        context_k, context_v = self.cross_attn.keys_values(self.context_norm(context_BND), alive_B)
        none = context_k[:, :, :0]
        return Cache(none, none, context_k, context_v)

    def step(self, x_B1D: Tensor, cache: Cache, context_bias: Tensor | None) -> tuple[Tensor, Cache]:
        """The state of the next token, and the cache with it."""
        q, k, v = self.self_attn.queries_keys_values(self.norm1(x_B1D))
        cache = cache._replace(k=torch.cat([cache.k, k], 2), v=torch.cat([cache.v, v], 2))
        x_B1D = x_B1D + self.self_attn.attended(q, cache.k, cache.v, None)
        return self._rest(x_B1D, [Read(cache.context_k, cache.context_v, context_bias)]), cache

    def _rest(self, x: Tensor, reads: Sequence[Read]) -> Tensor:
        """What follows self-attention."""
        x = x + self.cross_attn(self.query_norm(x), reads)
        return x + self.mlp(self.norm2(x))
