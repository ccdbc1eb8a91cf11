"""Cross-entropies of output heads without all of their scores: some rows at a time, gradients made on the way.

The gradient of a softmax is known with its scores, so nothing of the vocabulary's width is kept for the backward pass,
which only scales. (As in Hsu et al. 2024, arXiv 2410.10989, section 3.2.)

Shapes: ... any, D width, V ids of a stream, n predictions of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SCORES = 1 << 24  # that exist at the same time: 64 MiB in float32


class Head(NamedTuple):
    """What is predicted of a stream: its rows of the output table, which states (...) of it, and their ids (n,)."""

    rows: slice
    chosen: Tensor
    labels: Tensor


def cross_entropies(states: Tensor, table: Tensor, heads: Sequence[Head]) -> Tensor:
    """Mean cross-entropy (nats a token) of each head (heads,) from states (..., D) and the output table (rows, D).

    It is differentiable once, by the backward pass of one graph.
    """
    kept = torch.is_grad_enabled()
    losses: Tensor = _CrossEntropies.apply(states, table, heads, kept)  # type: ignore[no-untyped-call]
    return losses


class _CrossEntropies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, heads: Sequence[Head], kept: bool) -> Tensor:  # type: ignore[override]
        read, learn = (kept and wanted for wanted in ctx.needs_input_grad[:2])
        d_states = torch.zeros_like(states) if read else None
        d_table, d_weights = _places(table, heads) if learn else (None, [None] * len(heads))
        losses = []
        for head, d_weight in zip(heads, d_weights, strict=True):
            given = states[head.chosen]
            d_given = torch.empty_like(given) if read else None
            losses.append(_head(given, table[head.rows], head.labels, d_given, d_weight))
            if d_states is not None and d_given is not None:
                d_states[head.chosen] = d_given
        # No hook for what is kept should move the table's: it becomes the gradient.
        ctx.heads, ctx.d_table, ctx.d_weights = heads, d_table, d_weights
        ctx.save_for_backward(d_states)
        return torch.stack(losses)

    @staticmethod
    def backward(ctx: Any, d_losses: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if ctx.heads is None:
            raise RuntimeError("cross-entropies of heads keep no scores, so they can be differentiated once")
        (d_states,), d_table = ctx.saved_tensors, ctx.d_table
        factors = d_losses.tolist() if d_losses.device.type == "cpu" else d_losses.unbind()
        for head, d_weight, factor in zip(ctx.heads, ctx.d_weights, factors, strict=True):
            if d_states is not None:
                d_states[head.chosen] *= factor
            if d_weight is not None:
                d_weight *= factor
        for head, d_weight in zip(ctx.heads, ctx.d_weights, strict=True):
            if d_weight is not None and d_weight._base is not d_table:
                d_table[head.rows] += d_weight
        ctx.heads = ctx.d_table = ctx.d_weights = None
        return d_states, d_table, None, None


def _places(table: Tensor, heads: Sequence[Head]) -> tuple[Tensor, list[Tensor]]:
    """A gradient for a table, zero in the rows of no head, and where each head's part goes.

    That is in the table's for the first head of some rows, and apart for others of the same rows, as each is scaled.
    """
    d_table, places, end = torch.empty_like(table), [torch.empty(0)] * len(heads), 0
    for k in sorted(range(len(heads)), key=lambda k: heads[k].rows.start):
        rows = heads[k].rows
        apart = rows.start < end
        places[k] = torch.empty_like(table[rows]) if apart else d_table[rows]
        if not apart:
            d_table[end : rows.start].zero_()
            end = rows.stop
    d_table[end:].zero_()
    return d_table, places


def _head(given: Tensor, weight: Tensor, labels: Tensor, d_given: Tensor | None, d_weight: Tensor | None) -> Tensor:
    """The loss of one head from states (n, D) and weights (V, D); fills in the gradients that are wanted."""
    count, total = len(labels), torch.zeros((), dtype=torch.float32, device=given.device)
    step = max(1, SCORES // len(weight))
    for start in range(0, count, step):
        part, ids = given[start : start + step], labels[start : start + step, None]
        scores = F.linear(part, weight)
        found = scores.float().log_softmax(-1)
        total -= found.gather(1, ids).sum()
        if d_given is None and d_weight is None:
            continue
        # The gradient of the mean: probabilities, less one for the label, over the number of predictions.
        d_scores = found.exp_().scatter_add_(1, ids, found.new_full(ids.shape, -1.0)).div_(count).to(scores.dtype)
        if d_given is not None:
            d_given[start : start + step] = d_scores @ weight
        if d_weight is not None and d_weight.dtype == d_scores.dtype == part.dtype:
            # With beta 0 what was there does not count.
            torch.addmm(d_weight, d_scores.T, part, beta=int(start > 0), out=d_weight)
        elif d_weight is not None:
            product = d_scores.T @ part
            d_weight.add_(product) if start else d_weight.copy_(product)
    return total / count
