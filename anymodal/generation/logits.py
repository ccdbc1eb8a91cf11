"""From logits to tokens: filtering, temperature, and reproducible draws.

Shapes: (n, V) logits of n positions over V ids.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anymodal.errors import GenerationError

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


def _finite(logits: Tensor) -> Tensor:
    """The logits themselves. Raises GenerationError where one is not finite, which would make all the same id."""
    if not torch.isfinite(logits).all():
        raise GenerationError("the model's scores are not finite: its weights are damaged, or guidance is too strong")
    return logits


def probabilities(logits: Tensor, temperature: float, top_k: int = 0, top_p: float = 0.0) -> Tensor:
    """Probabilities (n, V), filtered before the temperature; at temperature 0 all on the most likely id."""
    logits = filter_logits(_finite(logits.float()), top_k, top_p)
    if temperature <= COLD:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    return (logits / temperature).softmax(-1)


def draw(
    logits: Tensor, uniform: Tensor, temperature: float | Tensor, top_k: int = 0, top_p: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Draw an id for each position.

    At temperature 0 the most likely ids are taken, with their probability at temperature 1 as confidence, so that
    positions can still be ranked.

    Args:
        logits: (n, V).
        uniform: (n,) random numbers in [0, 1).
        temperature: one, or one a position (n,); filters are applied before it.
        top_k: as for `filter_logits`.
        top_p: as for `filter_logits`.

    Returns:
        Ids (n,), and the probability of each (n,).
    """
    logits = filter_logits(_finite(logits.float()), top_k, top_p)
    temperatures = torch.as_tensor(temperature, dtype=torch.float32).expand(len(logits))
    greedy = bool((temperatures <= COLD).all())
    temperatures = temperatures.to(logits.device)
    cold = temperatures <= COLD
    likely = (logits / temperatures.masked_fill(cold, 1)[:, None]).softmax(-1)
    highest, best = likely.max(-1)
    if greedy:
        return best, highest
    cumulative = likely.cumsum(-1)
    ids = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
    ids = torch.where(cold, best, ids.clamp_max(logits.shape[-1] - 1))
    return ids, likely.gather(-1, ids[:, None])[:, 0]


def combine(branches: Tensor, weights: Tensor) -> Tensor:
    """Guided logits (..., n, V) from stacked passes (1 + conditions, ..., n, V): u + sum_i w_i (c_i - u).

    Pass 0 is unconditional (classifier-free guidance; several weighted conditions as in 4M-21, arXiv 2406.09406).
    """
    unconditional, conditional = branches[0], branches[1:]
    shaped = weights.view(-1, *[1] * unconditional.dim()).to(conditional)
    return unconditional + (shaped * (conditional - unconditional)).sum(0)
