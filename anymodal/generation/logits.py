"""From logits to tokens: filtering, temperature, and reproducible draws.

Shapes: (n, V) logits of n positions over V ids.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

COLD = 1e-10  # a temperature up to this one counts as 0


def filter_logits(logits: Tensor, top_k: int = 0, top_p: float = 0.0) -> Tensor:
    """Set what is outside the `top_k` best, or outside the smallest set with probability `top_p`, to -inf; 0 is off.

    The id that crosses `top_p` is kept, and at least one id always is.
    """
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1]), -1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if 0 < top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        removed = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before > top_p)
        logits = logits.masked_fill(removed, -torch.inf)
    return logits


def probabilities(logits: Tensor, temperature: float, top_k: int = 0, top_p: float = 0.0) -> Tensor:
    """Probabilities (n, V), filtered before the temperature; at temperature 0 all on the most likely id."""
    logits = filter_logits(logits.float(), top_k, top_p)
    if temperature <= COLD:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    return (logits / temperature).softmax(-1)


def draw(
    logits: Tensor,
    uniform: Tensor,
    temperature: float | Tensor,
    top_k: int = 0,
    top_p: float = 0.0,
    greedy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Ids (n,) and the probability of each (n,); `uniform` (n,) in [0, 1) are the random numbers it uses.

    Filters are applied before the temperature, which is one number or one a position (n,). At temperature 0 the most
    likely ids are taken, with their probability at temperature 1 as confidence, so that positions can still be ranked;
    `greedy` takes them at any temperature.
    """
    logits = filter_logits(logits.float(), top_k, top_p)
    heat = torch.as_tensor(temperature, dtype=torch.float32).expand(len(logits))
    greedy = greedy or bool((heat <= COLD).all())
    heat = heat.to(logits.device)
    cold = heat <= COLD
    shares = (logits / heat.masked_fill(cold, 1)[:, None]).softmax(-1)
    highest, best = shares.max(-1)
    if greedy:
        return best, highest
    cumulative = shares.cumsum(-1)
    ids = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
    ids = torch.where(cold, best, ids.clamp_max(logits.shape[-1] - 1))
    return ids, shares.gather(-1, ids[:, None])[:, 0]


class Draws:
    """The random choices of one sample, from a generator of its own: what others in the batch do changes nothing.

    A subclass may make them otherwise, such as replaying recorded ones; `greedy` takes the most likely ids whatever the
    temperature is.
    """

    greedy = False

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def order(self, positions: np.ndarray) -> np.ndarray:
        """The positions of a grid in the order in which they are filled."""
        return positions[torch.randperm(len(positions), generator=self._generator).numpy()]

    def uniform(self, count: int) -> Tensor:
        """Numbers (count,) in [0, 1) on the CPU, with which ids are drawn."""
        return torch.rand(count, generator=self._generator)

    def choose(self, ids: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
        """Which `count` of the predicted ids (n,) are kept: the most confident, the first of equals."""
        return np.argsort(-confidence, kind="stable")[:count]

    def branch(self, count: int) -> list[Draws]:
        """Independent choices for several draws from the same inputs."""
        if count == 1:
            return [self]
        return [Draws(int(s)) for s in torch.randint(2**62, (count,), generator=self._generator)]


def combine(branches: Tensor, weights: Tensor) -> Tensor:
    """Guided logits (..., n, V) from stacked passes (1 + conditions, ..., n, V): u + sum_i w_i (c_i - u).

    Pass 0 is unconditional (classifier-free guidance; several weighted conditions as in 4M-21, arXiv 2406.09406).
    """
    unconditional, conditional = branches[0], branches[1:]
    shaped = weights.view(-1, *[1] * unconditional.dim()).to(conditional)
    return unconditional + (shaped * (conditional - unconditional)).sum(0)
