"""What a quantizer is: latents to ids of codes, and ids to codes.

Everything here runs in float32, also under autocast: a rounded score would pick another code. Where several processes
train together, codes that learn by averages learn from the latents of all of them and stay equal on each.

Shapes: B batch, N latents per sample, C latent width, K codes, T = B * N latents, G codebooks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anymodal.nn import distributed


class Quantized(NamedTuple):
    """codes (B, N, C) float32; ids int64, (B, N) or (B, N, G) with several codebooks; loss, a scalar."""

    codes: Tensor
    ids: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """Latents to ids of `size` codes, and ids to codes; a latent gets as many ids as there are `codebooks`.

    Ids are (B, N), or (B, N, G) with several codebooks.
    """

    size: int
    codebooks: int = 1

    @abstractmethod
    def forward(self, z_BNC: Tensor) -> Quantized:
        """The codes in place of latents; in training codes may learn, and gradients reach the latents."""

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """The codes (B, N, C), float32, of ids."""

    @abstractmethod
    def mean(self, shares_BNK: Tensor) -> Tensor:
        """The mean codes (B, N / G, C), float32, under probabilities (B, N, K) of ids that cycle through G."""


def pick(rows_TC: Tensor, count: int) -> Tensor:
    """`count` rows of all processes at random, the same on each; without repetition where there are enough."""
    counts = distributed.counts(rows_TC)
    if (rows := sum(counts)) >= count:
        places_K = torch.randperm(rows, device=rows_TC.device)[:count]
    else:
        places_K = torch.randint(rows, (count,), device=rows_TC.device)
    return distributed.rows_at(rows_TC, distributed.first(places_K), counts)


def count_ids(ids: Tensor, size: int, codebooks: int) -> Tensor:
    """How often each code occurs, int64 (G, K), in ids whose last axis cycles through the codebooks."""
    offsets_G = torch.arange(codebooks, device=ids.device) * size
    flat = ids.reshape(-1, codebooks) + offsets_G
    return torch.bincount(flat.flatten(), minlength=codebooks * size).view(codebooks, size)
