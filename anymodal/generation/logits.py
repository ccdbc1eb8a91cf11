"""From logits to tokens: filtering, temperature, and reproducible draws.

Shapes: (n, V) logits of n positions over V ids, (n, C) those that can be drawn.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anymodal.errors import GenerationError

COLD = 1e-10  # a temperature up to this one counts as 0
FEW, SMALL = 4, 2**14  # gathering ids that may be drawn pays where less than one in four is, of more scores than these


def filter_logits(logits: Tensor, top_k: int = 0, top_p: float = 0.0, min_p: float = 0.0) -> Tensor:
    """Set what is outside the `top_k` best, or outside the smallest set with probability `top_p`, to -inf; 0 is off.

    `min_p` drops what is less probable than that share of the most likely id (arXiv 2407.01082). The id that crosses
    `top_p` is kept, and at least one id always is. Of equals at the edge, `top_k` keeps all and `top_p` the first.
    """
    kept = _kept(logits, top_k, top_p, min_p)
    if kept is None:
        return logits
    found = torch.full_like(logits, -torch.inf)
    inside = kept.logits > -torch.inf
    rows = torch.arange(len(logits), device=logits.device)[:, None].expand_as(kept.ids)[inside]
    found[rows, kept.ids[inside]] = kept.logits[inside]
    return found


class Kept(NamedTuple):
    """The ids (n, C) that can be drawn, ascending in each row, and their logits (n, C): -inf where a row has fewer."""

    ids: Tensor
    logits: Tensor


def _kept(logits: Tensor, top_k: int, top_p: float, min_p: float) -> Kept | None:
    """What `filter_logits` keeps of (n, V), without sorting what it drops; None where that is everything."""
    kept = None
    if 0 < top_k < logits.shape[-1]:
        kept = _chosen(logits, logits >= logits.topk(top_k, -1).values[..., -1:])
    if min_p > 0:
        # The share of the most likely one is the difference of their logits, so nothing is normalized.
        values = logits if kept is None else kept.logits
        above = values >= values.amax(-1, keepdim=True) + math.log(min_p)
        kept = _chosen(logits, above) if kept is None else Kept(kept.ids, values.masked_fill(~above, -torch.inf))
    if not 0 < top_p < 1:
        return kept
    values = logits if kept is None else kept.logits
    likely = values.softmax(-1)
    # Ids below this bound have less than 1 - top_p together, so whatever is kept is above it.
    above = likely > (1 - top_p) / values.shape[-1] * (1 - 1e-3)
    if kept is None:
        kept = _chosen(logits, above)
        likely = likely.gather(1, kept.ids).masked_fill_(kept.logits == -torch.inf, 0)
    return Kept(kept.ids, kept.logits.masked_fill(~_nucleus(kept.logits, likely, top_p), -torch.inf))


def _chosen(logits: Tensor, chosen: Tensor) -> Kept:
    """What is chosen of logits, by a mask (n, V) that holds some of each row."""
    size = logits.shape[-1]
    flat = _nonzero(chosen.view(-1)) if chosen.numel() > SMALL else None
    if flat is None or FEW * len(flat) > chosen.numel():
        ids = torch.arange(size, device=logits.device).expand_as(logits)
        return Kept(ids, logits.masked_fill(~chosen, -torch.inf))
    rows = flat.div(size, rounding_mode="floor")
    counts = torch.bincount(rows, minlength=len(logits))
    slots = torch.arange(len(flat), device=flat.device) - (counts.cumsum(0) - counts).index_select(0, rows)
    width = int(counts.max())
    where = rows * width + slots
    ids, values = flat.new_zeros(len(logits) * width), logits.new_full((len(logits) * width,), -torch.inf)
    ids.scatter_(0, where, flat - rows * size)
    values.scatter_(0, where, logits.reshape(-1).index_select(0, flat))
    return Kept(ids.view(-1, width), values.view(-1, width))


def _nucleus(logits: Tensor, likely: Tensor, top_p: float) -> Tensor:
    """Which candidates (n, C), with these logits and probabilities, are in the smallest set that reaches `top_p`.

    Logits that differ may have equal probabilities, so those at the edge are told apart by their logits.
    """
    ordered = _descending(likely)
    cumulative = ordered.cumsum(-1)
    counts = (cumulative - ordered <= top_p).sum(-1, keepdim=True)
    edge = _descending(logits).gather(1, counts - 1)
    inside = logits >= edge
    equals = inside.sum(-1, keepdim=True) - counts
    if equals.any():
        at_edge = logits == edge
        room = at_edge.sum(-1, keepdim=True) - equals
        inside &= ~at_edge | (at_edge.cumsum(-1) <= room)
    return inside & (likely > 0)


def _nonzero(mask: Tensor) -> Tensor:
    """Where a mask (n,) is true; NumPy is several times faster at it on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]


def _descending(values: Tensor) -> Tensor:
    """The rows of values (n, C), each sorted; NumPy sorts numbers alone with vector instructions."""
    if values.device.type == "cpu":
        return -torch.from_numpy(np.sort(-values.numpy(), axis=-1))
    return values.sort(-1, descending=True).values


def _finite(logits: Tensor) -> Tensor:
    """The logits themselves. Raises GenerationError where one is not finite, which would make all the same id."""
    if logits.numel() and not torch.isfinite(torch.stack(torch.aminmax(logits))).all():
        raise GenerationError("the model's scores are not finite: its weights are damaged, or guidance is too strong")
    return logits


def probabilities(logits: Tensor, temperature: float, top_k: int = 0, top_p: float = 0.0, min_p: float = 0.0) -> Tensor:
    """Probabilities (n, V), filtered before the temperature; at temperature 0 all on the most likely id."""
    logits = filter_logits(_finite(logits.float()), top_k, top_p, min_p)
    if temperature <= COLD:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    return (logits / temperature).softmax(-1)


def draw(
    logits: Tensor,
    uniform: Tensor,
    temperature: float | Tensor,
    top_k: int = 0,
    top_p: float = 0.0,
    min_p: float = 0.0,
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
        min_p: as for `filter_logits`.

    Returns:
        Ids (n,), and the probability of each (n,).
    """
    logits = _finite(logits.float())
    kept = _kept(logits, top_k, top_p, min_p) if len(logits) else None
    ids, confidence = _drawn(logits if kept is None else kept.logits, uniform, temperature)
    return (ids if kept is None else kept.ids.gather(1, ids[:, None])[:, 0]), confidence


def _drawn(logits: Tensor, uniform: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    """`draw` among all columns; those at -inf are never drawn."""
    temperatures = torch.as_tensor(temperature, dtype=torch.float32).expand(len(logits))
    is_cold = temperatures <= COLD
    greedy, mixed = bool(is_cold.all()), bool(is_cold.any())
    temperatures, is_cold = temperatures.to(logits.device), is_cold.to(logits.device)
    likely = (logits / temperatures.masked_fill(is_cold, 1)[:, None]).softmax(-1)
    if greedy:
        highest, best = likely.max(-1)
        return best, highest
    cumulative = likely.cumsum(-1)
    ids = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
    ids = ids.clamp_max(logits.shape[-1] - 1)
    if mixed:
        ids = torch.where(is_cold, likely.argmax(-1), ids)
    return ids, likely.gather(-1, ids[:, None])[:, 0]


def combine(branches: Tensor, weights: Tensor) -> Tensor:
    """Guided logits (..., n, V) from stacked passes (1 + conditions, ..., n, V): u + sum_i w_i (c_i - u).

    Pass 0 is unconditional (classifier-free guidance; several weighted conditions as in 4M-21, arXiv 2406.09406).
    `weights` are (conditions,), or (conditions, B) where the first axis of a pass is that of B samples.
    """
    unconditional, conditional = branches[0], branches[1:]
    shaped = weights.view(*weights.shape, *[1] * (branches.dim() - weights.dim())).to(conditional)
    return unconditional + (shaped * (conditional - unconditional)).sum(0)
