"""Which tokens of a sample the model reads and which it predicts (4M, arXiv 2312.06647 §3).

A mixture component is drawn, then token budgets from two Dirichlet distributions, then tokens: grids at random
positions, sequences by span masking. The result is packed: only selected tokens leave this file.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from anymodal.errors import ConfigError, nearest
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer

SMALLEST_ALPHA = 1e-9
KEEPS = ("random", "all", "none", "binary")


@attrs.frozen
class Component:
    """One component of the mixture: Dirichlet concentrations by stream name; streams not named have 0.

    `keep` says how much of a sequence stays visible when it is an input: 'random' (uniform share), 'all', 'none', or
    'binary' (all or nothing by a coin). `input_tokens` (least, most) replaces the configuration's number.
    """

    inputs: Mapping[str, float]
    targets: Mapping[str, float]
    weight: float = 1.0
    keep: Mapping[str, str] = attrs.field(factory=dict)
    input_tokens: tuple[int, int] | None = None

    def __attrs_post_init__(self) -> None:
        for name, keep in self.keep.items():
            if keep not in KEEPS:
                raise ConfigError(f"keep of {name!r} must be one of {', '.join(KEEPS)}, got {keep!r}")
        if self.weight < 0 or min([0, *self.inputs.values(), *self.targets.values()]) < 0:
            raise ConfigError("weights and concentrations of a mixture component must not be negative")
        if self.input_tokens is not None and not 0 <= self.input_tokens[0] <= self.input_tokens[1]:
            raise ConfigError(f"input_tokens must be (least, most), got {self.input_tokens}")


@attrs.frozen
class MaskingConfig:
    """How samples are masked: numbers of input and target tokens, and the mixture of Dirichlet components."""

    input_tokens: int = 128
    target_tokens: int = 128
    components: tuple[Component, ...] = attrs.field(factory=tuple, converter=tuple)


def budgets(alphas: np.ndarray, total: int, room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split `total` tokens over streams: floor of a Dirichlet draw, the remainder by argmax of further draws.

    What a stream has no `room` for goes to the others by the same rule, so that the sum is min(total, sum of room) over
    the streams with a positive alpha. `alphas`, `room` and the result have one entry a stream.
    """
    counts = np.zeros(len(alphas), np.int64)
    room = np.where(alphas > 0, room, 0)
    left = min(total, int(room.sum()))
    while left > 0:
        active = np.flatnonzero(counts < room)
        alpha = np.maximum(alphas[active], SMALLEST_ALPHA)
        share = _dirichlet(alpha, 1, rng)[0]
        draw = np.floor(share * left).astype(np.int64)
        extra = _dirichlet(alpha, left - int(draw.sum()), rng).argmax(1)
        draw += np.bincount(extra, minlength=len(active))
        counts[active] += np.minimum(draw, room[active] - counts[active])
        left = min(total, int(room.sum())) - int(counts.sum())
    return counts


def _dirichlet(alpha: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` draws; concentrations so small that a draw underflows put everything on one stream."""
    draws = rng.dirichlet(alpha, count)
    bad = ~np.isfinite(draws).all(1) | (np.abs(draws.sum(1) - 1) > 1e-6)
    if bad.any():
        draws[bad] = np.eye(len(alpha))[rng.choice(len(alpha), int(bad.sum()), p=alpha / alpha.sum())]
    return draws


def hide_spans(ids: np.ndarray, visible: np.ndarray, space: TokenSpace) -> tuple[np.ndarray, np.ndarray]:
    """Span masking: each run of hidden tokens becomes the next sentinel, from [S_1] on.

    Returns the input (visible tokens and sentinels) and the target ([S_k] and its tokens, span by span, closed by one
    more sentinel). Spans beyond the last sentinel stay visible.
    """
    assert space.sentinels is not None
    starts = np.flatnonzero(~visible & np.concatenate([[True], visible[:-1]]))
    spans = min(len(starts), space.sentinels[1] - 2)
    read: list[int] = []
    said: list[int] = []
    tokens, end = ids.tolist(), 0
    for k, start in enumerate(starts[:spans], 1):
        read += [*tokens[end:start], space.sentinel(k)]
        later = np.flatnonzero(visible[start:])
        end = start + int(later[0]) if len(later) else len(ids)
        said += [space.sentinel(k), *tokens[start:end]]
    read += tokens[end:]
    said.append(space.sentinel(spans + 1))
    return np.asarray(read, np.int64), np.asarray(said, np.int64)


def merge_spans(read: np.ndarray, said: np.ndarray, space: TokenSpace) -> np.ndarray:
    """The sequence whose hidden spans are filled in again; sentinels without a span vanish (inverse of hide_spans)."""
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token, mark in zip(said.tolist(), space.is_sentinel(said), strict=True):
        if mark:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    merged: list[int] = []
    for token, mark in zip(read.tolist(), space.is_sentinel(read), strict=True):
        merged += spans.get(token, []) if mark else [token]
    return np.asarray(merged, np.int64)


def select_sequence(
    ids: np.ndarray, inputs: int, targets: int, keep: str, space: TokenSpace, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Input and target ids of one sequence within its budgets (4M, arXiv 2312.06647, span masking).

    While the input is longer than its budget the share of visible tokens shrinks by a tenth and is drawn anew; a target
    that is too long is cut from a random sentinel on.
    """
    share = (
        {"random": rng.random(), "all": 1.0, "none": 0.0, "binary": float(rng.random() < 0.5)}[keep] if inputs else 0.0
    )
    while True:
        read, said = hide_spans(ids, rng.random(len(ids)) < share, space)
        if not inputs:
            read = read[:0]
        if len(read) <= inputs:
            break
        share *= 0.9
    return read, _cut_target(said, targets, space, rng)


def _cut_target(said: np.ndarray, budget: int, space: TokenSpace, rng: np.random.Generator) -> np.ndarray:
    if len(said) <= budget:
        return said
    starts = np.flatnonzero(space.is_sentinel(said))
    start = starts[int(rng.random() * max(1, len(starts) - 1))]
    if len(said) - start < budget:
        start = next(s for s in starts if len(said) - s <= budget)
    return said[start : start + budget]


class Masker:
    """Turns tokenised samples into packed ones.

    A sample maps stream names to ids (n,) or rows (n, width); it may lack streams. The same sample and random
    generator state give the same selection.
    """

    def __init__(self, layout: Layout, config: MaskingConfig) -> None:
        if not config.components:
            raise ConfigError("masking needs at least one component of the mixture")
        for component in config.components:
            for name in [*component.inputs, *component.targets, *component.keep]:
                if name not in layout:
                    raise ConfigError(
                        f"masking names the stream {name!r}, which is not in the set{nearest(name, layout.index)}"
                    )
        self.layout, self.config = layout, config
        weights = np.array([c.weight for c in config.components], float)
        self._cumulative = np.cumsum(weights / weights.sum())
        streams = layout.streams
        self._alphas = [
            (
                np.array([c.inputs.get(s.name, 0.0) if s.input else 0.0 for s in streams]),
                np.array([c.targets.get(s.name, 0.0) if s.target else 0.0 for s in streams]),
            )
            for c in config.components
        ]

    def component(self, rng: np.random.Generator) -> int:
        """Draw a component of the mixture."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self._alphas) - 1)

    def __call__(
        self, sample: Mapping[str, np.ndarray], rng: np.random.Generator, component: int | None = None
    ) -> Packed:
        """Select tokens of a sample by a drawn component, or by the given one."""
        which = self.component(rng) if component is None else component
        chosen, (alpha_in, alpha_out) = self.config.components[which], self._alphas[which]
        least, most = chosen.input_tokens or (self.config.input_tokens, self.config.input_tokens)
        total = least + int(rng.random() * (most - least + 1))
        lengths = np.array([len(sample[s.name]) if s.name in sample else 0 for s in self.layout.streams])
        given = budgets(alpha_in, total, lengths, rng)
        sequence = np.array([s.is_sequence for s in self.layout.streams])
        room = np.where(sequence, np.where(lengths > 0, lengths + 2, 0), lengths - given)
        wanted = budgets(alpha_out, self.config.target_tokens, room, rng)
        packer = Packer(self.layout)
        for stream, n_in, n_out in zip(self.layout.streams, given.tolist(), wanted.tolist(), strict=True):
            if n_in or n_out:
                self._add(packer, stream, sample[stream.name], n_in, n_out, chosen.keep.get(stream.name, "random"), rng)
        return packer.pack()

    def _add(
        self,
        packer: Packer,
        stream: Stream,
        value: np.ndarray,
        n_in: int,
        n_out: int,
        keep: str,
        rng: np.random.Generator,
    ) -> None:
        if isinstance(stream.space, TokenSpace) and stream.is_sequence:
            read, said = select_sequence(value, n_in, n_out, keep, stream.space, rng)
            if len(read):
                packer.add_input(stream.name, read, np.arange(len(read)))
            if len(said) > 1:
                packer.add_sequence_target(stream.name, said)
            return
        order = rng.permutation(len(value))
        chosen, asked = np.sort(order[:n_in]), np.sort(order[n_in : n_in + n_out])
        if n_in and stream.is_dense:
            packer.add_dense(stream.name, value[chosen], chosen)
        elif n_in:
            packer.add_input(stream.name, value[chosen], chosen)
        if n_out:
            packer.add_grid_target(stream.name, value[asked], asked)
