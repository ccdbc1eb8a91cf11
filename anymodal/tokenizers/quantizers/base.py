"""Codebooks: this file decides which id a latent gets, which vector an id stands for, and how codes learn.

Everything here runs in float32, also under autocast: a rounded score would pick another code. Where several processes
train together, codes that learn by averages learn from the latents of all of them and stay equal on each.

Shapes: B batch, N latents per sample, C latent width, K codes, T = B * N latents, G codebooks, D = C / G.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal import distributed as gather
from anymodal.nn.init import directions, normal
from anymodal.tokenizers.config import QuantizerConfig

SCORES_AT_ONCE = 2**24  # bounds the memory of a codebook search; small problems stay one matrix product


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


def nearest(directions_TC: Tensor, codes_KC: Tensor) -> Tensor:
    """Ids (T,) of the codes with the highest cosine similarity to unit vectors."""
    keys_CK = F.normalize(codes_KC, dim=-1).T
    parts = directions_TC.split(max(1, SCORES_AT_ONCE // len(codes_KC)))
    return torch.cat([(part @ keys_CK).argmax(-1) for part in parts])


def counts_and_sums(directions_TC: Tensor, ids_T: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many latents of all processes chose each code (K,), and their sum (K, C)."""
    counts_K = torch.bincount(ids_T, minlength=size).to(directions_TC.dtype)
    sums_KC = directions_TC.new_zeros(size, directions_TC.shape[1]).index_add_(0, ids_T, directions_TC)
    return gather.total(counts_K), gather.total(sums_KC)


def kmeans_directions(directions_TC: Tensor, size: int, iterations: int = 10) -> Tensor:
    """Spherical k-means (Dhillon & Modha 2001): `size` unit vectors (K, C) that stand for T unit vectors."""
    codes_KC = pick(directions_TC, size)
    for _ in range(iterations):
        counts_K, sums_KC = counts_and_sums(directions_TC, nearest(directions_TC, codes_KC), size)
        codes_KC = torch.where(counts_K[:, None] > 0, F.normalize(sums_KC, dim=-1), pick(directions_TC, size))
    return codes_KC


def pick(rows_TC: Tensor, count: int) -> Tensor:
    """`count` rows of all processes at random, the same on each; without repetition where there are enough."""
    counts = gather.counts(rows_TC)
    if (rows := sum(counts)) >= count:
        places_K = torch.randperm(rows, device=rows_TC.device)[:count]
    else:
        places_K = torch.randint(rows, (count,), device=rows_TC.device)
    return gather.rows_at(rows_TC, gather.first(places_K), counts)


class CosineCodebook(Quantizer):
    """One codebook, searched by cosine similarity and learned by moving averages (van den Oord et al. 2017, app. A.1).

    A latent gets the id of the code nearest in angle and is replaced by that code as it is stored: an average of unit
    vectors, so of length at most 1. In training each code moves towards the normalized mean of the latents that chose
    it. A code chosen, by moving average, less often than `dead_share` of an even share restarts at a random latent.

    decay: of both moving averages. commitment: weight of the loss that pulls latents to their codes.
    from_data: whether the first training batch places the codes, by k-means; otherwise they start as random directions.
    """

    codes: Tensor
    cluster_size: Tensor
    initialised: Tensor

    def __init__(
        self,
        size: int,
        latent: int,
        *,
        decay: float = 0.99,
        dead_share: float = 1 / 32,
        commitment: float = 1.0,
        from_data: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.decay, self.dead_share, self.commitment = size, decay, dead_share, commitment
        self.register_buffer("codes", directions(size, latent))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("initialised", torch.tensor(not from_data))

    def forward(self, z_BNC: Tensor) -> Quantized:
        with torch.autocast(z_BNC.device.type, enabled=False):
            z_BNC = z_BNC.float()
            directions_TC = F.normalize(z_BNC.detach().flatten(0, 1), dim=-1)
            if self.training and not self.initialised:
                self._place(directions_TC)
            ids_BN = nearest(directions_TC, self.codes.float()).view(z_BNC.shape[:2])
            codes_BNC = self.lookup(ids_BN)
            loss = self.commitment * F.mse_loss(z_BNC, codes_BNC)
            if self.training:
                self._learn(directions_TC, ids_BN.flatten())
                codes_BNC = z_BNC + (codes_BNC - z_BNC).detach()
            return Quantized(codes_BNC, ids_BN, loss)

    def lookup(self, ids: Tensor) -> Tensor:
        """The stored codes (B, N, C), float32, of ids (B, N)."""
        return self.codes.float()[ids]

    def mean(self, shares_BNK: Tensor) -> Tensor:
        """The mean codes (B, N, C), float32, under probabilities (B, N, K)."""
        return shares_BNK.float() @ self.codes.float()

    def _place(self, directions_TC: Tensor) -> None:
        if not torch.isfinite(gather.total(directions_TC.sum(0))).all():
            return
        self.codes.copy_(kmeans_directions(directions_TC, self.size))
        self.cluster_size.fill_(sum(gather.counts(directions_TC)) / self.size)
        self.initialised.fill_(True)

    def _learn(self, directions_TC: Tensor, ids_T: Tensor) -> None:
        counts_K, sums_KC = counts_and_sums(directions_TC, ids_T, self.size)
        targets_KC = F.normalize(torch.where(counts_K[:, None] > 0, sums_KC, self.codes), dim=-1)
        sizes_K = self.cluster_size.lerp(counts_K, 1 - self.decay)
        codes_KC = self.codes.lerp(targets_KC, 1 - self.decay)
        dead_K = sizes_K < self.dead_share * counts_K.sum() / self.size
        codes_KC = torch.where(dead_K[:, None], pick(directions_TC, self.size), codes_KC)
        # A batch with a non-finite latent teaches nothing: it would stay in the averages for ever.
        usable = torch.isfinite(sums_KC).all()
        self.cluster_size.copy_(torch.where(usable, sizes_K, self.cluster_size))
        self.codes.copy_(torch.where(usable, codes_KC, self.codes))


class ProductQuantizer(Quantizer):
    """G codebooks, one per part of the latent, searched by attention and learned by gradients ("memory codes").

    Part g of a latent, scaled by D^-0.5, is the query; keys and values are linear maps of that codebook's codes. The id
    is the key with the highest score; in training it is drawn from their softmax, with the gradients of a
    straight-through Gumbel-softmax at temperature 1 (Jang et al. 2017). There is no codebook loss.
    """

    def __init__(self, size: int, latent: int, codebooks: int) -> None:
        super().__init__()
        self.size, self.codebooks = size, codebooks
        part = latent // codebooks
        self.codes = nn.Parameter(normal(codebooks, size, part))
        self.to_k = nn.Parameter(normal(codebooks, part, part, std=part**-0.5))
        self.to_v = nn.Parameter(normal(codebooks, part, part, std=part**-0.5))

    def forward(self, z_BNC: Tensor) -> Quantized:
        with torch.autocast(z_BNC.device.type, enabled=False):
            z_BNGD = z_BNC.float().unflatten(-1, (self.codebooks, -1))
            keys_GKD = self.codes.float() @ self.to_k.float()
            scores_BNGK = torch.einsum("bngd,gkd->bngk", z_BNGD * z_BNGD.shape[-1] ** -0.5, keys_GKD)
            loss = scores_BNGK.new_zeros(())
            if not self.training:
                ids_BNG = scores_BNGK.argmax(-1)
                return Quantized(self.lookup(ids_BNG), ids_BNG, loss)
            choices_BNGK = F.gumbel_softmax(scores_BNGK, tau=1.0, hard=True)
            codes_BNGD = torch.einsum("bngk,gkd->bngd", choices_BNGK, self._values())
            return Quantized(codes_BNGD.flatten(-2), choices_BNGK.detach().argmax(-1), loss)

    def lookup(self, ids: Tensor) -> Tensor:
        """The value vectors (B, N, C), float32, of ids (B, N, G)."""
        which_G = torch.arange(self.codebooks, device=ids.device)
        with torch.autocast(ids.device.type, enabled=False):
            return self._values()[which_G, ids].flatten(-2)

    def mean(self, shares_BNK: Tensor) -> Tensor:
        """The mean value vectors (B, N / G, C), float32, under probabilities (B, N, K) of ids that cycle through G."""
        shares_BNGK = shares_BNK.float().unflatten(1, (-1, self.codebooks))
        return torch.einsum("bngk,gkd->bngd", shares_BNGK, self._values()).flatten(-2)

    def _values(self) -> Tensor:
        return self.codes.float() @ self.to_v.float()


def build_quantizer(config: QuantizerConfig) -> Quantizer:
    """The quantizer a config describes."""
    match config.kind:
        case "cosine":
            return CosineCodebook(config.size, config.latent)
        case "product":
            return ProductQuantizer(config.size, config.latent, config.codebooks)
    from anymodal.tokenizers.quantizers.external import build_library_quantizer

    return build_library_quantizer(config)


def count_ids(ids: Tensor, size: int, codebooks: int) -> Tensor:
    """How often each code occurs, int64 (G, K), in ids whose last axis cycles through the codebooks."""
    offsets_G = torch.arange(codebooks, device=ids.device) * size
    flat = ids.reshape(-1, codebooks) + offsets_G
    return torch.bincount(flat.flatten(), minlength=codebooks * size).view(codebooks, size)
