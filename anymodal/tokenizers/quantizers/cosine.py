"""One codebook, searched by cosine similarity and learned by moving averages.

Shapes: B batch, N latents per sample, C latent width, K codes, T = B * N latents.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anymodal.nn import distributed
from anymodal.nn.init import directions
from anymodal.tokenizers.quantizers.base import Quantized, Quantizer, pick

SCORES_AT_ONCE = 2**24  # bounds the memory of a codebook search; small problems stay one matrix product


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
            ids_BN = nearest_codes(directions_TC, self.codes.float()).view(z_BNC.shape[:2])
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
        if not torch.isfinite(distributed.total(directions_TC.sum(0))).all():
            return
        self.codes.copy_(kmeans_directions(directions_TC, self.size))
        self.cluster_size.fill_(sum(distributed.counts(directions_TC)) / self.size)
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


def nearest_codes(directions_TC: Tensor, codes_KC: Tensor) -> Tensor:
    """Ids (T,) of the codes with the highest cosine similarity to unit vectors."""
    keys_CK = F.normalize(codes_KC, dim=-1).T
    if torch.compiler.is_exporting():  # a graph has no number of parts that depends on its input
        return (directions_TC @ keys_CK).argmax(-1)
    parts = directions_TC.split(max(1, SCORES_AT_ONCE // len(codes_KC)))
    return torch.cat([(part @ keys_CK).argmax(-1) for part in parts])


def counts_and_sums(directions_TC: Tensor, ids_T: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many latents of all processes chose each code (K,), and their sum (K, C)."""
    counts_K = torch.bincount(ids_T, minlength=size).to(directions_TC.dtype)
    sums_KC = directions_TC.new_zeros(size, directions_TC.shape[1]).index_add_(0, ids_T, directions_TC)
    return distributed.total(counts_K), distributed.total(sums_KC)


def kmeans_directions(directions_TC: Tensor, size: int, iterations: int = 10) -> Tensor:
    """Spherical k-means (Dhillon & Modha 2001): `size` unit vectors (K, C) that stand for T unit vectors."""
    codes_KC = pick(directions_TC, size)
    for _ in range(iterations):
        counts_K, sums_KC = counts_and_sums(directions_TC, nearest_codes(directions_TC, codes_KC), size)
        codes_KC = torch.where(counts_K[:, None] > 0, F.normalize(sums_KC, dim=-1), pick(directions_TC, size))
    return codes_KC
