"""Guided logits: several passes, each with other conditions, encoded apart, decoded as more rows of one batch, and
combined.

Shapes: B samples, G passes (1, or 1 + number of conditions), M positions, N input tokens, V ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.errors import GenerationError
from anymodal.generation.encodings import Encodings
from anymodal.generation.logits import combine
from anymodal.generation.plan import Target
from anymodal.generation.reuse import Reuse
from anymodal.generation.state import SampleState
from anymodal.model import Context, Transformer
from anymodal.model.precision import products
from anymodal.model.reading import decode
from anymodal.sampling.guidance import Constant, Guidance, as_guidance
from anymodal.spaces import Stream
from anymodal.tokens import NO_LABEL, Layout, Targets


@attrs.frozen
class Pass:
    """One guidance pass: what it does not see, and how its logits count (0 for the unconditional one).

    `hidden` streams show what stands for "not given", `absent` ones are left out.
    """

    weight: Guidance = attrs.field(default=Constant(1.0), converter=as_guidance)
    hidden: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


def guidance_passes(states: Sequence[SampleState], target: Target) -> list[Pass]:
    """The passes whose logits are combined: one without guidance, else the unconditional one first.

    A single scale weighs "everything" against "the conditions hidden"; several weights weigh each condition alone
    against none of them (4M-21, arXiv 2406.09406) and take the place of the scale, which is the checkpoint's: a plan
    refuses one that is asked for. Raises GenerationError for weights of what is not given.
    """
    given = frozenset(name for state in states for name in state.streams if name != target.stream)
    if target.weights:
        if missing := sorted(set(target.weights) - given):
            raise GenerationError(f"weights name {missing[0]!r}, which is not among the given inputs")
        alone = [Pass(weight, absent=given - {name}) for name, weight in target.weights.items()]
        return [Pass(0.0, absent=given), *alone]
    conditions = given if target.conditions is None else given & frozenset(target.conditions)
    if target.sampling.guidance.off or not conditions:
        return [Pass()]
    return [Pass(0.0, hidden=conditions), Pass(target.sampling.guidance)]


class GuidedModel:
    """A Transformer that is asked for guided logits of samples. Not a module: it holds no weights of its own."""

    reuse: Reuse | None = None

    def __init__(self, transformer: Transformer) -> None:
        self.transformer = transformer
        self.layout: Layout = transformer.layout
        self.encodings = Encodings(transformer)

    def of(self, target: Target) -> GuidedModel:
        """The model for the steps of one target."""
        if target.sampling.refresh == 1:
            return self
        own = GuidedModel(self.transformer)
        own.reuse = Reuse(self.transformer, self.layout[target.stream], target.sampling.refresh)
        return own

    def encode(self, states: Sequence[SampleState], passes: Sequence[Pass], stream: Stream) -> list[Context]:
        """What each pass reads to generate a stream; passes are encoded apart, for one may see much more than another.

        A pass that sees nothing new, such as the first one of a target after another that it does not see, costs
        nothing.
        """
        fresh = not any(stream.name in state.streams for state in states)
        return [
            self.encodings.of([state.seen(each.hidden, each.absent) for state in states], remember=fresh)
            for each in passes
        ]

    def grid_logits(
        self,
        states: Sequence[SampleState],
        stream: Stream,
        requested: Sequence[np.ndarray],
        passes: Sequence[Pass],
        shares: Sequence[float] = (),
    ) -> Tensor:
        """Guided logits of positions of a grid.

        Args:
            states: B samples.
            stream: the grid.
            requested: positions (n,) of each sample.
            passes: as `guidance_passes` has them.
            shares: how much of the grid is decided in each sample, 0..1; by default nothing.

        Returns:
            (B, M, V), padded to the longest list of positions.
        """
        shares = shares or [0.0] * len(states)
        passes = passes if self.reuse is not None else needed_passes(passes, shares)
        first, most = self.layout.positions[stream.name].start, max(map(len, requested))
        positions = np.zeros((len(requested), most), np.int64)
        streams, reach = np.full((len(requested), most), -1, np.int64), np.zeros((len(requested), most), np.int64)
        for row, each in enumerate(requested):
            positions[row, : len(each)] = each + first
            streams[row, : len(each)] = self.layout.index[stream.name]
            reach[row, : len(each)] = len(each)  # all of its own, and no padding
        targets = self._targets(positions, streams, reach, len(passes))
        with products(self.transformer):
            if self.reuse is None:
                decoded = self.transformer.decode(targets, *self.encode(states, passes, stream))
            else:
                unseen = [(each.hidden, each.absent) for each in passes]
                decoded = decode(self.transformer, targets, self.reuse.read(states, unseen))
            return self._guided(decoded, stream, passes, shares)

    def _targets(self, positions: np.ndarray, streams: np.ndarray, reach: np.ndarray, passes: int) -> Targets:
        """Queries of a grid (G * B, M), the same for every pass."""
        device = self.transformer.input_table.device
        where, which, seen = (torch.from_numpy(a).to(device).repeat(passes, 1) for a in (positions, streams, reach))
        return Targets(torch.zeros_like(where), where, which, seen, torch.full_like(where, NO_LABEL))

    def _guided(self, decoded: Tensor, stream: Stream, passes: Sequence[Pass], shares: Sequence[float]) -> Tensor:
        """Logits (B, M, V) of decoder states (G * B, M, D)."""
        logits = self.transformer.logits(decoded, stream.name)
        return guided(logits.view(len(passes), -1, *logits.shape[1:]), passes, shares)


def needed_passes(passes: Sequence[Pass], shares: Sequence[float]) -> Sequence[Pass]:
    """The passes without the unconditional one where the scale of the only condition is 1 for all samples."""
    if len(passes) == 2 and all(passes[1].weight.scale_at(share) == 1 for share in shares):
        return passes[1:]
    return passes


def guided(logits: Tensor, passes: Sequence[Pass], shares: Sequence[float]) -> Tensor:
    """Logits (B, ..., V) of all passes (G, B, ..., V) combined, where a share (B,) of each sample is decided."""
    if len(passes) == 1:
        return logits[0]
    logits = logits.float()
    weights = torch.tensor([[each.weight.scale_at(share) for share in shares] for each in passes[1:]])
    combined = combine(logits, weights)
    rescale = passes[-1].weight.rescale if len(passes) == 2 else 0.0
    if not rescale:
        return combined
    spread = logits[1].std(-1, keepdim=True) / combined.std(-1, keepdim=True).clamp_min(1e-6)
    return combined * (rescale * spread + 1 - rescale)
