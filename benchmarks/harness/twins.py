"""The plain way: what one would write without packed tokens and caches. A stand-in for the original, never a copy.

Shapes: B samples, N input tokens, M target tokens, V ids, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anymodal.generation import SampleState
from anymodal.model import Context, Transformer
from anymodal.sampling import Sampling
from anymodal.spaces import TokenSpace
from anymodal.tokens import NO_LABEL, Layout, Targets, collate
from benchmarks.harness.models import known


def nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Scores with all outside the nucleus at -inf, by a full sort (Holtzman et al., arXiv 1904.09751)."""
    ordered, order = scores.sort(-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    removed = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before > top_p)
    return scores.masked_fill(removed, -torch.inf)


def drawn(scores: Tensor, how: Sampling) -> Tensor:
    """Ids (n,) of scores (n, V)."""
    if 0 < how.top_p < 1:
        scores = nucleus(scores, how.top_p)
    if how.temperature <= 0:
        return scores.argmax(-1)
    return torch.multinomial((scores / how.temperature).softmax(-1), 1)[:, 0]


def encoded(model: Transformer, states: Sequence[SampleState], hidden: frozenset[str] = frozenset()) -> Context:
    """The context of inputs, padded modality by modality: every stream is embedded at its full length."""
    packed = collate([state.pack(hidden) for state in states], model.layout, input_tokens=1)
    for stream in model.layout.streams:
        if stream.input and isinstance(stream.space, TokenSpace):
            rows = torch.zeros(len(states), stream.space.length, dtype=torch.long)
            block = model.layout.inputs[stream.name]
            _ = model.input_table[block.rows][rows] + model.input_positions(rows)
    return model.encode(packed.inputs)


def _targets(layout: Layout, name: str, ids: Tensor, positions: Tensor, causal: bool) -> Targets:
    order = torch.arange(ids.shape[1]).expand_as(ids)
    reach = order + 1 if causal else torch.full_like(ids, ids.shape[1])
    return Targets(ids, positions, torch.full_like(ids, layout.index[name]), reach, torch.full_like(ids, NO_LABEL))


@torch.inference_mode()
def caption(model: Transformer, given: str, name: str, batch: int, how: Sampling) -> None:
    """A forward pass over all tokens so far for each token, without a cache; a pass of its own for no conditions."""
    layout, states = model.layout, known(model.layout, [given], batch)
    space = layout[name].space
    assert isinstance(space, TokenSpace)
    contexts = [encoded(model, states)]
    if not how.guidance.off:
        contexts.append(encoded(model, states, frozenset([given])))
    written = torch.full((batch, 1), space.sentinel(1))
    for _ in range(space.length):
        count = written.shape[1]
        where = torch.from_numpy(layout.target_rows(name, np.arange(count))).expand(batch, -1)
        targets = _targets(layout, name, written + layout.queries[name].start, where, causal=True)
        scores = [model.logits(model.decode(targets, each)[:, -1], name) for each in contexts]
        mixed = scores[0] if len(scores) == 1 else scores[1] + how.guidance.scale_at(0) * (scores[0] - scores[1])
        written = torch.cat([written, drawn(mixed.float(), how)[:, None]], 1)


@torch.inference_mode()
def grid(model: Transformer, given: Sequence[str], name: str, batch: int, how: Sampling) -> None:
    """A forward pass of the whole model for each step and each condition, over all positions that are open."""
    layout, states, rng = model.layout, known(model.layout, given, batch), np.random.default_rng(0)
    length = layout[name].space.length
    for step in how.plan(length):
        open_ = [state.unknown(layout[name]) for state in states]
        chosen = [rng.permutation(each)[: step.count] for each in open_]
        asked = open_ if how.scheme.name == "maskgit" else chosen
        where = torch.from_numpy(np.stack(asked) + layout.positions[name].start)
        targets = _targets(layout, name, torch.zeros_like(where), where, causal=False)
        contexts = [encoded(model, states)]
        if not how.guidance.off:
            contexts.append(encoded(model, states, frozenset(given)))
        scores = [model.logits(model.decode(targets, each), name) for each in contexts]
        mixed = scores[0] if len(scores) == 1 else scores[1] + how.guidance.scale_at(0) * (scores[0] - scores[1])
        ids = drawn(mixed.float().flatten(0, 1), how).view(batch, -1).numpy()
        for state, every, row, kept in zip(states, asked, ids, chosen, strict=True):
            state.extend(name, row[np.isin(every, kept)], np.sort(kept))
