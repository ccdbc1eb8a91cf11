"""Selecting tokens of samples: by a mixture, or by fixed roles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs
import numpy as np

from anymodal.errors import DataError
from anymodal.masking.budgets import budgets, published_budgets
from anymodal.masking.config import MaskingConfig, spelled_out
from anymodal.masking.spans import chunk_sizes, select_rows, select_sequence
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer

NONE = np.zeros(0, np.int64)


@attrs.frozen(eq=False)
class Selection:
    """What is chosen of one stream: input values (n,) or (n, width) at `read_at`, target ids (m,) at `asked_at`.

    The places in a sequence are ranks. A target sequence of m ids makes m - 1 predictions.
    """

    stream: Stream
    read: np.ndarray
    read_at: np.ndarray
    asked: np.ndarray
    asked_at: np.ndarray

    @property
    def predictions(self) -> int:
        return max(len(self.asked) - 1, 0) if self.stream.is_sequence else len(self.asked)


def pack(layout: Layout, selections: Iterable[Selection]) -> Packed:
    """One packed sample of what was selected."""
    packer = Packer(layout)
    for chosen in selections:
        name = chosen.stream.name
        if len(chosen.read) and chosen.stream.is_dense:
            packer.add_dense(name, chosen.read, chosen.read_at)
        elif len(chosen.read):
            packer.add_input(name, chosen.read, chosen.read_at)
        if chosen.predictions:
            if chosen.stream.is_sequence:
                packer.add_sequence_target(name, chosen.asked)
            else:
                packer.add_grid_target(name, chosen.asked, chosen.asked_at)
    return packer.pack()


def select_grid(
    length: int, inputs: int, targets: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random positions of a grid to read and to predict, ascending; None asks for all that are not read."""
    order = rng.permutation(length)
    end = length if targets is None else inputs + targets
    return np.sort(order[:inputs]), np.sort(order[inputs:end])


class Masker:
    """Turns tokenized samples into packed ones.

    A sample maps stream names to ids (n,) or rows (n, width); it may lack streams. The same sample and random
    generator state give the same selection.
    """

    def __init__(self, layout: Layout, config: MaskingConfig) -> None:
        config = spelled_out(config, layout)
        self.layout, self.config = layout, config
        weights = np.array([c.weight for c in config.components], float)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._alphas = [
            (self._by_stream(c.inputs, "input"), self._by_stream(c.targets, "target")) for c in config.components
        ]
        targets = np.array([s.target for s in layout.streams])
        self._uses = [(given > 0, (wanted > 0) & targets) for given, wanted in self._alphas]
        self._fits: dict[tuple[str, ...], np.ndarray] = {}  # by the streams of a sample
        self._sequence = np.array([s.is_sequence for s in layout.streams])
        self._grid_alphas = [(np.where(self._sequence, 0, a), np.where(self._sequence, 0, b)) for a, b in self._alphas]

    def _by_stream(self, alphas: Mapping[str, float], side: str) -> np.ndarray:
        """Concentrations in the order of the layout. 4M spends a share of the targets on what cannot be one."""
        published = self.config.scheme == "fourm"
        return np.array(
            [alphas.get(s.name, 0.0) if published or getattr(s, side) else 0.0 for s in self.layout.streams]
        )

    def component(self, rng: np.random.Generator) -> int:
        """Draw a component of the mixture."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self._alphas) - 1)

    def fitting(self, sample: Mapping[str, np.ndarray], component: int, rng: np.random.Generator) -> int:
        """The component, or another one drawn by weight if it has nothing to read or to predict in the sample.

        Raises DataError if no component has.
        """
        fits = self._fits.get(tuple(sample))
        if fits is None:
            here = np.array([s.name in sample for s in self.layout.streams])
            fits = self._fits[tuple(sample)] = np.array(
                [(not reads.any() or (reads & here).any()) and (asks & here).any() for reads, asks in self._uses]
            )
        if fits[component]:
            return component
        weights = np.array([c.weight for c in self.config.components]) * fits
        if not weights.any():
            raise DataError(f"no component of the masking reads and predicts any of {', '.join(sample) or 'nothing'}")
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def __call__(
        self, sample: Mapping[str, np.ndarray], rng: np.random.Generator, component: int | None = None
    ) -> Packed:
        """Select tokens of a sample by a drawn component, or by the given one."""
        which = self.component(rng) if component is None else component
        given, wanted = self.budgets(sample, rng, which)
        return pack(self.layout, self.select(sample, given, wanted, which, rng))

    def budgets(
        self, sample: Mapping[str, np.ndarray], rng: np.random.Generator, component: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Input and target budgets of a sample by stream, in the order of the layout."""
        chosen, (alpha_in, alpha_out) = self.config.components[component], self._alphas[component]
        least, most = chosen.input_tokens or (self.config.input_tokens, self.config.input_tokens)
        total, asked = least + int(rng.random() * (most - least + 1)), self.config.target_tokens
        streams = self.layout.streams
        sequence, lengths = self._sequence, self._lengths(sample)
        if self.config.scheme == "full":
            given = budgets(alpha_in, total, lengths, rng)
            room = np.where(sequence, np.where(lengths > 0, lengths + 2, 0), lengths - given)
            return given, budgets(alpha_out, asked, room, rng)
        here = np.flatnonzero([s.name in sample for s in streams])
        room = np.array([s.space.length for s in streams])
        given, wanted = np.zeros(len(streams), np.int64), np.zeros(len(streams), np.int64)
        given[here] = published_budgets(alpha_in[here], total, room[here], rng)
        left = np.where(sequence, room, room - given)
        wanted[here] = published_budgets(alpha_out[here], asked, left[here], rng)
        return given, wanted

    def _lengths(self, sample: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.array([len(sample[s.name]) if s.name in sample else 0 for s in self.layout.streams])

    def select(
        self,
        sample: Mapping[str, np.ndarray],
        given: np.ndarray,
        wanted: np.ndarray,
        component: int,
        rng: np.random.Generator,
    ) -> list[Selection]:
        """Tokens of a sample within its budgets by stream."""
        if self.config.scheme == "full":
            return self._select_full(sample, given, wanted, component, rng)
        return [
            self._select(stream, sample[stream.name], int(given[i]), int(wanted[i]), component, rng)
            for i, stream in enumerate(self.layout.streams)
            if stream.name in sample
        ]

    def _select_full(
        self,
        sample: Mapping[str, np.ndarray],
        given: np.ndarray,
        wanted: np.ndarray,
        component: int,
        rng: np.random.Generator,
    ) -> list[Selection]:
        """Sequences first; what they do not use of their budgets goes to the grids by the concentrations of these."""
        streams, given, wanted = self.layout.streams, given.copy(), wanted.copy()
        total, asked = int(given.sum()), int(wanted.sum())
        used, chosen = [0, 0], {}
        for i, stream in enumerate(streams):
            if stream.is_sequence and (given[i] or wanted[i]):
                part = self._select(stream, sample[stream.name], int(given[i]), int(wanted[i]), component, rng)
                chosen[i] = part
                used = [used[0] + len(part.read), used[1] + part.predictions]
        given[self._sequence] = wanted[self._sequence] = 0
        alpha_in, alpha_out = self._grid_alphas[component]
        more, further = total - used[0] - int(given.sum()), asked - used[1] - int(wanted.sum())
        if more > 0 or further > 0:
            lengths = self._lengths(sample)
            wanted += budgets(alpha_out, further, lengths - given - wanted, rng)
            given += budgets(alpha_in, more, lengths - given - wanted, rng)
        for i, stream in enumerate(streams):
            if given[i] or wanted[i]:
                chosen[i] = self._select(stream, sample[stream.name], int(given[i]), int(wanted[i]), component, rng)
        return [chosen[i] for i in sorted(chosen)]

    def _select(
        self, stream: Stream, value: np.ndarray, inputs: int, targets: int, component: int, rng: np.random.Generator
    ) -> Selection:
        if not stream.is_sequence:
            read_at, asked_at = select_grid(len(value), min(inputs, len(value)), targets if stream.target else 0, rng)
            return Selection(stream, value[read_at], read_at, value[asked_at] if stream.target else NONE, asked_at)
        keep, space = self.config.components[component].keep.get(stream.name, "random"), stream.space
        if not isinstance(space, TokenSpace):
            rows = select_rows(value, inputs, keep, rng)
            return Selection(stream, rows, np.arange(len(rows)), NONE, NONE)
        size = self.config.chunks.get(stream.name, 1)
        chunks = None if size == 1 else chunk_sizes(value, size, space)
        read, said = select_sequence(value, inputs, targets, keep, space, rng, chunks)
        return Selection(stream, read, np.arange(len(read)), said, np.arange(len(said)))


@attrs.frozen
class Roles:
    """Masks by fixed roles, as for fine-tuning: `inputs` are read whole, `targets` predicted whole (stream names)."""

    layout: Layout
    inputs: Collection[str]
    targets: Collection[str]

    def __call__(self, sample: Mapping[str, np.ndarray], rng: np.random.Generator | None = None) -> Packed:
        """The packed sample; nothing is drawn."""
        return pack(self.layout, self.select(sample))

    def select(self, sample: Mapping[str, np.ndarray]) -> list[Selection]:
        """Every stream of the sample that has a role."""
        rng = np.random.default_rng(0)
        return [
            self._role(stream, sample[stream.name], rng)
            for stream in self.layout.streams
            if stream.name in sample and (stream.name in self.inputs or stream.name in self.targets)
        ]

    def _role(self, stream: Stream, value: np.ndarray, rng: np.random.Generator) -> Selection:
        given, none, space = stream.name in self.inputs, np.zeros(0, np.int64), stream.space
        if stream.is_sequence and not stream.is_dense:
            assert isinstance(space, TokenSpace)
            budget = len(value) if given else 0
            read, said = select_sequence(value, budget, None, "all", space, rng)
            return Selection(stream, read, np.arange(len(read)), said, np.arange(len(said)))
        places = np.arange(len(value))
        if given:
            return Selection(stream, value, places, none, none)
        return Selection(stream, value[:0], none, value, places)
