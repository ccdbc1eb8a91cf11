"""Masking schemes: how budgets are dealt out to the streams of a sample and spent. `SCHEMES` has them by name.

Another distribution adds its own with `SCHEMES.add`, or by an entry point in the group "anymodal.masking_schemes".
Arrays have one entry for each stream of the layout, in its order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import attrs
import numpy as np

from anymodal.config.tables import SettingsTable
from anymodal.masking.budgets import Gammas, budgets, dealt, published_budgets
from anymodal.masking.selection import Chosen
from anymodal.spaces import Stream

Sample = Mapping[str, np.ndarray]
Select = Callable[[Stream, int, int], Chosen]  # tokens of a stream within its input and target budget


@attrs.frozen(eq=False)
class Concentrations:
    """Dirichlet concentrations of a component of the mixture, and gamma draws of them for one sample.

    inputs, targets: (streams,) float64; 0 for streams that never get any.
    input_draws, target_draws: what `budgets` splits by.
    """

    inputs: np.ndarray
    targets: np.ndarray
    input_draws: Gammas
    target_draws: Gammas

    def continued(self, rng: np.random.Generator) -> Concentrations:
        """The same, with further draws from another generator."""
        self.input_draws.rng = self.target_draws.rng = rng
        return self


class Streams:
    """The streams of a layout; `sequences` (streams,) says which of them are sequences."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = tuple(streams)
        self.names = [s.name for s in streams]
        self.is_sequence = [s.is_sequence for s in streams]
        self.sequences = np.array(self.is_sequence)
        self.spelled = [i for i, s in enumerate(streams) if s.is_sequence]
        self.grids = [i for i, s in enumerate(streams) if not s.is_sequence]

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.streams)

    def lengths(self, sample: Sample) -> np.ndarray:
        """Numbers of tokens (streams,) of a sample."""
        return np.array([len(sample[name]) if name in sample else 0 for name in self.names])


@attrs.frozen(kw_only=True)
class MaskingScheme(ABC):
    """How one sample is masked.

    Add your own: a frozen attrs class with its own fields, under ``@SCHEMES.add``; a recipe names it. `usable_only`:
    streams get budgets only for what they can be, an input or a target.
    """

    name: str = attrs.field(init=False)
    usable_only: ClassVar[bool] = True

    @abstractmethod
    def budgets(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        inputs: int,
        targets: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Deal out a sample's tokens.

        Args:
            streams: of the layout.
            sample: ids or rows by stream name; it may lack streams.
            concentrations: of the component, with draws for this sample.
            inputs: how many tokens are read in all.
            targets: how many tokens are predicted in all.
            rng: the only source of randomness.

        Returns:
            Input and target budgets (streams,) int64; 0 for streams that the sample lacks.
        """

    @abstractmethod
    def select(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        input_budgets: np.ndarray,
        target_budgets: np.ndarray,
        select: Select,
        rng: np.random.Generator,
    ) -> list[Chosen]:
        """Choose tokens of a sample within its budgets.

        Args:
            streams: of the layout.
            sample: ids or rows by stream name.
            concentrations: of the component, with draws for this sample.
            input_budgets: input budgets (streams,).
            target_budgets: target budgets (streams,).
            select: chooses tokens of one stream within its input and target budget.
            rng: the only source of randomness.
        """


SCHEMES: SettingsTable[MaskingScheme] = SettingsTable(MaskingScheme, "masking scheme", default="full")  # type: ignore[type-abstract]


@SCHEMES.add
@attrs.frozen(kw_only=True)
class FullBudgets(MaskingScheme):
    """Budgets are filled whenever a sample has enough tokens: what a stream has no room for goes to the others."""

    name: str = attrs.field(init=False, default="full")

    def budgets(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        inputs: int,
        targets: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        room = [len(sample[name]) if name in sample else 0 for name in streams.names]
        read = dealt(concentrations.input_draws, inputs, room)
        for i, count in enumerate(read):
            room[i] += 2 * (room[i] > 0) if streams.is_sequence[i] else -count
        return np.array(read, np.int64), budgets(concentrations.target_draws, targets, room)

    def select(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        input_budgets: np.ndarray,
        target_budgets: np.ndarray,
        select: Select,
        rng: np.random.Generator,
    ) -> list[Chosen]:
        """Sequences first; what they do not use of their budgets goes to the grids by the concentrations of these."""
        read, predicted = input_budgets.tolist(), target_budgets.tolist()
        more, further = 0, 0
        chosen: list[Chosen | None] = [None] * len(read)
        for i in streams.spelled:
            if read[i] or predicted[i]:
                chosen[i] = part = select(streams.streams[i], read[i], predicted[i])
                more += read[i] - len(part.inputs)
                further += predicted[i] - part.predictions
        if more > 0 or further > 0:
            self._spend(streams, sample, concentrations, more, further, read, predicted)
        for i in streams.grids:
            if read[i] or predicted[i]:
                chosen[i] = select(streams.streams[i], read[i], predicted[i])
        return [part for part in chosen if part is not None]

    def _spend(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        inputs: int,
        targets: int,
        read: list[int],
        predicted: list[int],
    ) -> None:
        """Deal out further tokens over the grids; changes their budgets `read` and `predicted`."""
        room, names = [0] * len(read), streams.names
        for i in streams.grids:
            if names[i] in sample:
                room[i] = len(sample[names[i]]) - read[i] - predicted[i]
        for draws, total, given in (
            (concentrations.target_draws, targets, predicted),
            (concentrations.input_draws, inputs, read),
        ):
            if total > 0:
                for i, count in enumerate(dealt(draws, total, room)):
                    given[i] += count
                    room[i] -= count


@SCHEMES.add
@attrs.frozen(kw_only=True)
class PublishedBudgets(MaskingScheme):
    """Exactly as published (4M, arXiv 2312.06647): what a stream has no room for is lost.

    A part of the targets is spent on streams that cannot be one.
    """

    name: str = attrs.field(init=False, default="fourm")
    usable_only: ClassVar[bool] = False

    def budgets(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        inputs: int,
        targets: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        here = [i for i, name in enumerate(streams.names) if name in sample]
        room = np.array([s.space.length for s in streams])
        input_budgets = published_budgets(concentrations.input_draws, inputs, here, room)
        left = np.where(streams.sequences, room, room - input_budgets)
        return input_budgets, published_budgets(concentrations.target_draws, targets, here, left)

    def select(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        input_budgets: np.ndarray,
        target_budgets: np.ndarray,
        select: Select,
        rng: np.random.Generator,
    ) -> list[Chosen]:
        """Every stream of the sample within its own budgets."""
        return [
            select(stream, int(input_budgets[i]), int(target_budgets[i]))
            for i, stream in enumerate(streams)
            if stream.name in sample
        ]
