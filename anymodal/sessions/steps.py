"""Sequences token by token in graphs, with memory of a fixed size that is doubled when a text is longer.

Shapes: R rows, L blocks, H heads, T tokens of memory, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from anymodal.model import Context, Transformer
from anymodal.model.steps import Steps, Texts

if TYPE_CHECKING:
    from anymodal.sessions.transformer import SessionTransformer

ROOM = 16  # tokens of memory at first


class _Rows:
    """The texts of one stream that read one context, and the keys and values of their tokens so far."""

    def __init__(self, model: SessionTransformer, context: Context, times: int) -> None:
        k, v = model.read_graph(context=context.tokens, attended=context.attended)
        self.context_k, self.context_v = (part.repeat_interleave(times, 1) for part in (k, v))
        self.attended = context.attended.repeat_interleave(times, 0)
        blocks, rows, heads, _, width = self.context_k.shape
        self.past_k, self.past_v = torch.zeros(2, blocks, rows, heads, ROOM, width).unbind()

    def step(self, model: SessionTransformer, ids: Tensor, position: int, stream: int, rank: int) -> Tensor:
        """The states (R, D) of the next tokens, which were fed `ids` (R,)."""
        if rank == self.past_k.shape[3]:
            self.past_k, self.past_v = (
                torch.cat([part, torch.zeros_like(part)], 3) for part in (self.past_k, self.past_v)
            )
        allowed = torch.zeros(len(ids), 1, self.past_k.shape[3] + 1, dtype=torch.bool)
        allowed[:, :, :rank] = allowed[:, :, -1] = True
        states, k, v = model.decode_graph(
            ids=ids[:, None],
            positions=torch.full_like(ids, position)[:, None],
            streams=torch.full_like(ids, stream)[:, None],
            allowed=allowed,
            past_k=self.past_k,
            past_v=self.past_v,
            context_k=self.context_k,
            context_v=self.context_v,
            context_attended=self.attended,
        )
        self.past_k[:, :, :, rank], self.past_v[:, :, :, rank] = k[:, :, :, 0], v[:, :, :, 0]
        return states[:, 0]

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows alone."""
        self.past_k, self.past_v = self.past_k[:, rows], self.past_v[:, rows]
        self.context_k, self.context_v = self.context_k[:, rows], self.context_v[:, rows]
        self.attended = self.attended[rows]


class SessionSteps(Steps):
    """`Steps` of a model of graphs."""

    def __init__(self, model: Transformer, texts: Sequence[Texts]) -> None:
        self.sessions, self.rank = cast("SessionTransformer", model), 0
        self.reads = [
            (each.stream, [_Rows(self.sessions, context, each.times) for context in each.contexts]) for each in texts
        ]

    def step(self, last: Sequence[Sequence[int]]) -> list[Tensor]:
        """See `Steps.step`."""
        layout, found = self.sessions.layout, []
        for (name, passes), ids in zip(self.reads, last, strict=True):
            fed = torch.tensor([*ids]) + layout.queries[name].start
            (position,) = layout.target_rows(name, np.array([self.rank])).tolist()
            states = [rows.step(self.sessions, fed, position, layout.index[name], self.rank) for rows in passes]
            found.append(self.sessions.logits(torch.stack(states), name))
        self.rank += 1
        return found

    def keep(self, active: Sequence[Sequence[int]]) -> None:
        """See `Steps.keep`."""
        for (_, passes), texts in zip(self.reads, active, strict=True):
            for rows in passes:
                rows.keep(torch.tensor([*texts], dtype=torch.long))
        self.reads = [read for read, texts in zip(self.reads, active, strict=True) if texts]
