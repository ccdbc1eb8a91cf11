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
from anymodal.masking.budgets import budgets, published_budgets
from anymodal.masking.selection import Selection
from anymodal.spaces import Stream

Sample = Mapping[str, np.ndarray]
Select = Callable[[Stream, int, int], Selection]  # tokens of a stream within its input and target budget


@attrs.frozen(eq=False)
class Concentrations:
    """Dirichlet concentrations of a component of the mixture; 0 for streams that never get any.

    inputs, targets: (streams,) float64.
    """

    inputs: np.ndarray
    targets: np.ndarray


class Streams:
    """The streams of a layout; `sequences` (streams,) says which of them are sequences."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = tuple(streams)
        self.sequences = np.array([s.is_sequence for s in streams])

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.streams)

    def lengths(self, sample: Sample) -> np.ndarray:
        """Numbers of tokens (streams,) of a sample."""
        return np.array([len(sample[s.name]) if s.name in sample else 0 for s in self.streams])


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
            concentrations: the concentrations of the component.
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
    ) -> list[Selection]:
        """Choose tokens of a sample within its budgets.

        Args:
            streams: of the layout.
            sample: ids or rows by stream name.
            concentrations: the concentrations of the component.
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
        lengths = streams.lengths(sample)
        input_budgets = budgets(concentrations.inputs, inputs, lengths, rng)
        room = np.where(streams.sequences, np.where(lengths > 0, lengths + 2, 0), lengths - input_budgets)
        return input_budgets, budgets(concentrations.targets, targets, room, rng)

    def select(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        input_budgets: np.ndarray,
        target_budgets: np.ndarray,
        select: Select,
        rng: np.random.Generator,
    ) -> list[Selection]:
        """Sequences first; what they do not use of their budgets goes to the grids by the concentrations of these."""
        read, predicted, sequences = input_budgets.copy(), target_budgets.copy(), streams.sequences
        inputs, targets = int(read.sum()), int(predicted.sum())
        chosen: dict[int, Selection] = {}
        for i, stream in enumerate(streams):
            if stream.is_sequence and (read[i] or predicted[i]):
                chosen[i] = select(stream, int(read[i]), int(predicted[i]))
        read[sequences] = predicted[sequences] = 0
        more = inputs - int(read.sum()) - sum(len(part.inputs) for part in chosen.values())
        further = targets - int(predicted.sum()) - sum(part.predictions for part in chosen.values())
        if more > 0 or further > 0:
            lengths = streams.lengths(sample)
            grids = [np.where(sequences, 0, each) for each in (concentrations.inputs, concentrations.targets)]
            predicted += budgets(grids[1], further, lengths - read - predicted, rng)
            read += budgets(grids[0], more, lengths - read - predicted, rng)
        for i, stream in enumerate(streams):
            if read[i] or predicted[i]:
                chosen[i] = select(stream, int(read[i]), int(predicted[i]))
        return [chosen[i] for i in sorted(chosen)]


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
        here = np.flatnonzero([s.name in sample for s in streams])
        room = np.array([s.space.length for s in streams])
        input_budgets, target_budgets = np.zeros_like(room), np.zeros_like(room)
        input_budgets[here] = published_budgets(concentrations.inputs[here], inputs, room[here], rng)
        left = np.where(streams.sequences, room, room - input_budgets)
        target_budgets[here] = published_budgets(concentrations.targets[here], targets, left[here], rng)
        return input_budgets, target_budgets

    def select(
        self,
        streams: Streams,
        sample: Sample,
        concentrations: Concentrations,
        input_budgets: np.ndarray,
        target_budgets: np.ndarray,
        select: Select,
        rng: np.random.Generator,
    ) -> list[Selection]:
        """Every stream of the sample within its own budgets."""
        return [
            select(stream, int(input_budgets[i]), int(target_budgets[i]))
            for i, stream in enumerate(streams)
            if stream.name in sample
        ]
