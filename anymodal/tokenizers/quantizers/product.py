"""Several codebooks side by side, each for a part of the latent, learned by gradients.

Shapes: B batch, N latents per sample, C latent width, K codes, G codebooks, D = C / G.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.nn.init import normal
from anymodal.tokenizers.quantizers.base import Quantized, Quantizer


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
