"""Quantizers of the library vector-quantize-pytorch behind the interface of ours: scalar, look-up free and residual.

The library is imported when one of them is built. Everything runs in float32, also under autocast.

Shapes: B batch, N latents per sample, C latent width, K codes, G ids per latent, D = C / G, T = B * N latents.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from anymodal.errors import ConfigError
from anymodal.nn import distributed
from anymodal.tokenizers.quantizers.base import Quantized, Quantizer, pick

PACKAGE, EXTRA = "vector_quantize_pytorch", "anymodal[quantizers]"
SCORES_AT_ONCE = 2**24  # bounds the memory of LFQ's entropies, for which latents are compared with all codes
STANDARD_DECAY = 0.95  # of what standardizes latents

Q = TypeVar("Q", bound=Quantizer)


def with_library(kind: str, make: Callable[[], Q]) -> Q:
    """What `make` makes with the library. Raises ConfigError without it, naming the `kind` of quantizer.

    Always made on the CPU, so that what the library does not save has values even in a model on the meta device.
    """
    if find_spec(PACKAGE) is None:
        raise ConfigError(f"a quantizer of kind {kind!r} needs {PACKAGE}; pip install '{EXTRA}'.")
    with torch.device("cpu"):
        return make()


def _library() -> Any:
    import vector_quantize_pytorch
    from loguru import logger

    logger.disable(PACKAGE)  # a first batch of few latents is no news; unused codes restart later
    return vector_quantize_pytorch


class LatticeQuantizer(Quantizer):
    """Codes at fixed places: each number of a latent is rounded by itself, and one id names what came out.

    With several codebooks the latent is cut into as many parts, each with an id of its own; all have the same codes.
    Since codes cannot move to where latents are, latents are moved to the codes: each number is standardized over the
    batch, and by moving averages of its mean and variance after training (Ioffe & Szegedy 2015). Without that all
    latents drift to one side, to the same code.
    """

    layer: Any
    centre: Tensor
    variance: Tensor
    placed: Tensor

    def __init__(self, layer: Any, size: int, codebooks: int) -> None:
        super().__init__()
        self.layer, self.size, self.codebooks = layer, size, codebooks
        self.register_buffer("centre", torch.zeros(layer.dim))
        self.register_buffer("variance", torch.ones(layer.dim))
        self.register_buffer("placed", torch.tensor(False))

    def forward(self, z_BNC: Tensor) -> Quantized:
        with torch.autocast(z_BNC.device.type, enabled=False):
            z_BNC = z_BNC.float()
            if self.training:
                mean_C, variance_C = self._moments(z_BNC.flatten(0, 1))
                self._follow(mean_C.detach(), variance_C.detach())
            else:
                mean_C, variance_C = self.centre.float(), self.variance.float()
            return self._round((z_BNC - mean_C) * (variance_C + 1e-6).rsqrt())

    def _moments(self, latents_TC: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over the latents of all processes, with gradients to those of this one."""
        count = sum(distributed.counts(latents_TC))
        mean_C = distributed.total(latents_TC.sum(0)) / count
        return mean_C, distributed.total((latents_TC - mean_C).square().sum(0)) / count

    def _follow(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Move the averages; the first batch sets them, and one that is not finite is left out."""
        usable = torch.isfinite(variance_C).all()
        pace = torch.where(self.placed, 1 - STANDARD_DECAY, 1.0)
        self.centre.copy_(torch.where(usable, self.centre.lerp(mean_C, pace), self.centre))
        self.variance.copy_(torch.where(usable, self.variance.lerp(variance_C, pace), self.variance))
        self.placed.logical_or_(usable)

    @abstractmethod
    def _round(self, z_BNC: Tensor) -> Quantized: ...

    def lookup(self, ids: Tensor) -> Tensor:
        """The codes (B, N, C), float32, of ids (B, N), or (B, N, G) with several codebooks."""
        return self.layer.indices_to_codes(ids).float()

    def mean(self, shares_BNK: Tensor) -> Tensor:
        """The mean codes (B, N / G, C), float32, under probabilities (B, N, K) of ids that cycle through G."""
        ids_K = torch.arange(self.size, device=shares_BNK.device)
        alike = ids_K[:, None].expand(-1, self.codebooks) if self.codebooks > 1 else ids_K
        codes_KD = self.lookup(alike[None])[0].unflatten(-1, (self.codebooks, -1))[:, 0]
        return (shares_BNK.float() @ codes_KD).unflatten(1, (-1, self.codebooks)).flatten(-2)


class FiniteScalarQuantizer(LatticeQuantizer):
    """FSQ (Mentzer et al. 2023, arXiv 2309.15505): number i is bounded by tanh and rounded to one of levels[i] values.

    There is nothing to learn and no loss; the id is the rounded numbers read as digits, the first one fastest.
    """

    def __init__(self, levels: tuple[int, ...], codebooks: int) -> None:
        layer = _library().FSQ(list(levels), num_codebooks=codebooks)
        super().__init__(layer, layer.codebook_size, codebooks)

    def _round(self, z_BNC: Tensor) -> Quantized:
        codes_BNC, ids = self.layer(z_BNC)
        return Quantized(codes_BNC, ids.long(), z_BNC.new_zeros(()))


class LookupFreeQuantizer(LatticeQuantizer):
    """LFQ (Yu et al. 2023, arXiv 2310.05737): number i becomes -1 or 1, and the id is those signs read as bits.

    The loss pulls latents to their signs and rewards entropy: little for each latent, much over all of them.
    """

    def __init__(self, size: int, codebooks: int, commitment: float = 0.25, entropy: float = 0.1) -> None:
        """`commitment` and `entropy` are the weights of the two losses (Yu et al. 2023)."""
        weights = {"commitment_loss_weight": commitment, "entropy_loss_weight": entropy}
        super().__init__(_library().LFQ(codebook_size=size, num_codebooks=codebooks, **weights), size, codebooks)

    def _round(self, z_BNC: Tensor) -> Quantized:
        scores = z_BNC[..., 0].numel() * self.codebooks * self.size
        self.layer.frac_per_sample_entropy = min(1.0, SCORES_AT_ONCE / scores)
        # The library divides the shares by the number of processes, and with them the weight of their entropy.
        self.layer.diversity_gamma = float(distributed.processes())
        codes_BNC, ids, loss = self.layer(z_BNC)
        return Quantized(codes_BNC, ids.long(), loss)


class ResidualQuantizer(Quantizer):
    """G codebooks one after the other, each for what those before it left over (Zeghidour et al. 2021, algorithm 1).

    A latent gets one id of each; its code is the sum of theirs. The first training batch places the codes by k-means;
    then each moves, by moving averages with `decay`, towards the mean of what chose it. One chosen less often than
    `dead_share` of an even share restarts at random.
    """

    def __init__(self, size: int, latent: int, codebooks: int, decay: float = 0.99, dead_share: float = 1 / 32) -> None:
        super().__init__()
        self.size, self.codebooks, self.dead_share = size, codebooks, dead_share
        self.layer = _library().ResidualVQ(
            dim=latent,
            num_quantizers=codebooks,
            codebook_size=size,
            kmeans_init=True,
            decay=decay,
            sync_codebook=False,
            rotation_trick=False,  # gradients would explode where almost nothing is left over
        )
        for codebook in self._codebooks():
            # The library asks only once, when it builds a codebook, whether there are other processes.
            codebook.all_reduce_fn = codebook.kmeans_all_reduce_fn = _add_up
            codebook.sample_fn = codebook.replace_sample_fn = _sample
            codebook.has_dead_code_replacement = True

    def forward(self, z_BNC: Tensor) -> Quantized:
        with torch.autocast(z_BNC.device.type, enabled=False):
            z_BNC = z_BNC.float()
            # A batch with a non-finite latent teaches nothing: it would stay in the averages for ever.
            if self.training and bool(torch.isfinite(distributed.total(z_BNC.detach().sum()))):
                return self._learn(z_BNC)
            return self._search(z_BNC)

    def _learn(self, z_BNC: Tensor) -> Quantized:
        latents = sum(distributed.counts(z_BNC.flatten(0, 1)))
        for codebook in self._codebooks():
            codebook.threshold_ema_dead_code = codebook.reset_cluster_size = self.dead_share * latents / self.size
        codes_BNC, ids_BNG, losses = self.layer(z_BNC)
        return Quantized(codes_BNC, ids_BNG, losses.sum())

    def _search(self, z_BNC: Tensor) -> Quantized:
        """As the library does without learning, in memory that does not grow with the product of B and K."""
        rest_TC, chosen = z_BNC.flatten(0, 1), []
        for codes_KC in self._codes():
            chosen.append(_distances(rest_TC, codes_KC).argmin(-1))
            rest_TC = rest_TC - codes_KC[chosen[-1]]
        ids_BNG = torch.stack(chosen, -1).view(*z_BNC.shape[:2], -1)
        codes_BNC = self.lookup(ids_BNG)
        return Quantized(codes_BNC, ids_BNG, F.mse_loss(z_BNC, codes_BNC))

    def lookup(self, ids: Tensor) -> Tensor:
        """The sums (B, N, C), float32, of the codes of ids (B, N, G)."""
        which_G = torch.arange(self.codebooks, device=ids.device)
        return self._codes()[which_G, ids].sum(-2)

    def mean(self, shares_BNK: Tensor) -> Tensor:
        """The mean sums (B, N / G, C), float32, under probabilities (B, N, K) of ids that cycle through G."""
        shares_BNGK = shares_BNK.float().unflatten(1, (-1, self.codebooks))
        return torch.einsum("bngk,gkc->bnc", shares_BNGK, self._codes())

    def _codes(self) -> Tensor:
        """All codes (G, K, C), float32."""
        return torch.stack([codebook.embed[0] for codebook in self._codebooks()]).float()

    def _codebooks(self) -> list[Any]:
        return [layer._codebook for layer in self.layer.layers]


def _distances(latents_TC: Tensor, codes_KC: Tensor) -> Tensor:
    """How far (T, K) latents are from codes; in an exported graph, where there is no cdist, less what is the same."""
    if torch.compiler.is_exporting():
        return codes_KC.square().sum(-1) - 2 * latents_TC @ codes_KC.T
    return torch.cdist(latents_TC, codes_KC)


def _add_up(values: Tensor) -> None:
    """Replaces the values, in place, by their sum over all processes."""
    values.copy_(distributed.total(values))


def _sample(rows_1TC: Tensor, count: int) -> Tensor:
    return pick(rows_1TC[0], count)[None]
