"""The floor under a piece of work: its matrix products and its reads of memory, each measured by itself.

A product is timed in the layout of its weights that is faster here, over as many copies as the work has weights, so
that they come from memory where the work's do.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anymodal.model import ModelConfig
from benchmarks.harness.base import Part


class Product(NamedTuple):
    """`rows` x `inner` by `inner` x `outer`, by `weights` different matrices."""

    rows: int
    inner: int
    outer: int
    weights: int = 1

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * self.inner * self.outer * self.weights

    @property
    def numbers(self) -> float:
        """How many numbers it reads of weights."""
        return float(self.inner * self.outer * self.weights)


class Attention(NamedTuple):
    """Queries of some heads over keys and values, `layers` times."""

    batch: int
    heads: int
    queries: int
    keys: int
    width: int
    layers: int = 1

    @property
    def flops(self) -> float:
        return 4.0 * self.batch * self.heads * self.queries * self.keys * self.width * self.layers

    @property
    def numbers(self) -> float:
        return 2.0 * self.batch * self.heads * self.keys * self.width * self.layers


def least(work: Callable[[], object], times: int = 1) -> float:
    """The shortest processor time of `times` runs after one that warms up, in seconds."""
    work()
    spans = []
    for _ in range(times):
        begun = time.process_time()
        work()
        spans.append(time.process_time() - begun)
    return min(spans)


def _product(product: Product, dtype: torch.dtype) -> Callable[[], Tensor]:
    x = torch.randn(product.rows, product.inner, dtype=dtype)
    weights = [torch.randn(product.outer, product.inner, dtype=dtype) for _ in range(product.weights)]
    plain = partial(_each, partial(F.linear, x), weights)
    pages = [torch.from_numpy(np.empty((product.inner, product.outer), np.float32)).to(dtype) for _ in weights]
    turned = partial(_each, partial(torch.mm, x), [p.copy_(w.t()) for p, w in zip(pages, weights, strict=True)])
    ways = [plain, turned]
    with torch.inference_mode(), contextlib.suppress(AttributeError, RuntimeError):  # where there is no oneDNN
        packed = [torch.ops.mkldnn._reorder_linear_weight(weight, product.rows) for weight in weights]
        ways.append(partial(_each, lambda w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""), packed))
        ways[-1]()
    with torch.inference_mode():
        return min(ways, key=least)


def _each(function: Callable[[Tensor], Tensor], weights: list[Tensor]) -> Tensor:
    for weight in weights:
        y = function(weight)
    return y


def _attention(a: Attention, dtype: torch.dtype) -> Callable[[], Tensor]:
    q = torch.randn(a.batch, a.heads, a.queries, a.width, dtype=dtype)
    k, v = torch.randn(2, a.layers, a.batch, a.heads, a.keys, a.width, dtype=dtype)
    kv = list(zip(k, v, strict=True))

    def run() -> Tensor:
        for each in kv:
            y = F.scaled_dot_product_attention(q, *each)
        return y

    return run


def part(label: str, count: float, pieces: Iterable[Product | Attention], dtype: torch.dtype = torch.float32) -> Part:
    """Some products and attentions, one after the other, as a part of a floor."""
    pieces = list(pieces)
    runs = [_product(p, dtype) if isinstance(p, Product) else _attention(p, dtype) for p in pieces]

    def run() -> None:
        with torch.inference_mode():
            for each in runs:
                each()

    size = dtype.itemsize
    return Part(label, count, run, sum(p.flops for p in pieces), sum(p.numbers for p in pieces) * size)


def encoder(config: ModelConfig, batch: int, tokens: int) -> list[Product | Attention]:
    """One pass over `tokens` inputs of each of `batch` samples, and its projection for the decoder."""
    d, rows, depth = config.dim, batch * tokens, config.encoder_depth
    width = d // config.heads
    return [
        *_block(config, rows, depth),
        Attention(batch, config.heads, tokens, tokens, width, depth),
        Product(rows, d, d),
    ]


def _block(config: ModelConfig, rows: int, depth: int) -> list[Product]:
    """The products of self-attention and of the MLP."""
    d, hidden = config.dim, config.hidden
    up = 2 if config.gated else 1
    sizes = ((d, 3 * d, depth), (d, d, depth), (d, hidden, up * depth), (hidden, d, depth))
    return [Product(rows, *size) for size in sizes]


def context(config: ModelConfig, batch: int, tokens: int) -> list[Product]:
    """The keys and values of inputs in every block of the decoder."""
    return [Product(batch * tokens, config.dim, 2 * config.dim, config.decoder_depth)]


def decoder(
    config: ModelConfig, batch: int, targets: int, seen: int, inputs: int, ids: int
) -> list[Product | Attention]:
    """One pass over `targets` positions that see `seen` of each other and `inputs`, up to the scores of `ids`."""
    d, rows, depth, width = config.dim, batch * targets, config.decoder_depth, config.dim // config.heads
    return [
        *_block(config, rows, depth),
        Product(rows, d, d, 2 * depth),
        Attention(batch, config.heads, targets, seen, width, depth),
        Attention(batch, config.heads, targets, inputs, width, depth),
        Product(rows, d, ids),
    ]
