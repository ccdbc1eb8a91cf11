"""A critic that learns beside a tokenizer to tell its pictures from true ones, so that they become as sharp as these.

The critic scores overlapping patches (Isola et al. 2017, arXiv 1611.07004), and its weights have spectral norm 1
(Miyato et al. 2018, arXiv 1802.05957). Both sides learn in one step: the critic by the hinge loss, the decoder from its
score and from the distance between the critic's features of a picture and of what it should be (Wang et al. 2018, arXiv
1711.11585). A decoder whose pictures are judged this way is that of a VQGAN (Esser et al. 2021, arXiv 2012.09841).

Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from anymodal.tokenizers.tokenizer import GivenCodes, Reconstruction, Tokenizer
from anymodal.training.tokenizers.config import AdversarialConfig


class Scores(NamedTuple):
    """What a critic finds: scores (B, 1, h, w) of patches, higher for true ones, and the features it found them by."""

    patches: Tensor
    features: list[Tensor]

    def of(self, rows: slice) -> Scores:
        """Those of some pictures."""
        return Scores(self.patches[rows], [feature[rows] for feature in self.features])


class Critic(nn.Module):
    """Pictures (B, C, H, W) in [-1, 1] to `Scores` of their patches; each convolution but the last halves the sides."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.halvings = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise((channels, *widths))
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x_BCHW: Tensor) -> Scores:
        features = []
        for halving in self.halvings:
            x_BCHW = F.leaky_relu(halving(x_BCHW), 0.2)
            features.append(x_BCHW)
        return Scores(self.score(x_BCHW), features)


class Judgement(NamedTuple):
    """Scalars. fooled: minus the mean score of pictures; features: how far theirs are from those of true ones; critic:
    what the critic minimizes, 0 where it tells all patches apart, 2 where it tells none."""

    fooled: Tensor
    features: Tensor
    critic: Tensor


class Judged(nn.Module):
    """A tokenizer and its critic, which learn from the same batch, neither from what the other one minimizes."""

    def __init__(self, tokenizer: Tokenizer, config: AdversarialConfig) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.critic = Critic(tokenizer.config.channels, config.widths)

    def forward(self, x_BCHW: Tensor, *given: GivenCodes) -> tuple[Reconstruction, Judgement]:
        result = self.tokenizer(x_BCHW, *given)
        both = self.critic(torch.cat([result.target, result.output.detach().to(result.target.dtype)]))
        true, made = both.of(slice(0, len(x_BCHW))), both.of(slice(len(x_BCHW), None))
        critic = F.relu(1 - true.patches.float()).mean() + F.relu(1 + made.patches.float()).mean()
        still = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        judged = functional_call(self.critic, still, (result.output,))
        gaps = [F.l1_loss(a.float(), b.detach().float()) for a, b in zip(judged.features, true.features, strict=True)]
        return result, Judgement(-judged.patches.float().mean(), torch.stack(gaps).mean(), critic)
