"""Where samples come from: every dataset that a run may name, as tokens by index.

A source is random access and draws only from the generator it is given, so that a sample is a function of its index and
of that generator. What cannot be used raises an error that names the place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.order import Shuffled
from anymodal.data.report import Report, problem_line
from anymodal.errors import ConfigError
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.tokens import Layout
from anymodal.tokens.checks import checked_tokens

Tokens = dict[str, np.ndarray]
Advance = Callable[[int], object]
Begin = Callable[[int], Advance]


class Source(ABC):
    """A dataset as tokens. `streams` names those that its samples may have."""

    streams: frozenset[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        """Ids (n,) int64 or rows (n, width) float32 by stream; `rng` draws the crop. Raises AnymodalError."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """Where a sample lies, for people."""

    def order(self, seed: int) -> Callable[[int], int]:
        """Which sample comes at a position: every epoch visits each once, in an order drawn from the seed."""
        return Shuffled(len(self), seed)


@attrs.frozen
class DataLayout(ABC):
    """A way in which a dataset may lie on disk or behind an address.

    A class derived from it states its `name`, and `description`, one line for people.
    `anymodal.data.sources.open.DATA_LAYOUTS` is the table of all of them. Where only the arrangement of files is new,
    a `FileLayout` is enough.
    """

    name: str = attrs.field(init=False)
    description: ClassVar[str] = ""

    @abstractmethod
    def recognizes(self, path: str) -> bool:
        """Whether a path, or an address, is a dataset of this layout."""

    @abstractmethod
    def open(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> Source:
        """Its samples, as far as they are of the modalities. Raises DataError or ConfigError if they do not fit."""

    def look(
        self, config: DataConfig, modalities: Mapping[str, Modality] | None, count: int
    ) -> Iterator[tuple[str, dict[str, tuple[Modality, Any]]]]:
        """Natural values of a few samples from all over a dataset, by part, each with the name of its sample.

        Raises DataError, and ConfigError for a layout without natural values.
        """
        raise ConfigError(f"{config.path} has no values to draw; draw what it was made from")

    def check(self, config: DataConfig, modalities: Mapping[str, Modality] | None, begin: Begin) -> Report:
        """Read all of it, as `anymodal.data.check.check_dataset` says.

        This one makes the tokens of every sample, with the modalities given. Raises DataError or ConfigError.
        """
        if modalities is None:
            raise ConfigError(f"{config.path} is checked with the modalities of a run; say which: --config MODEL.yaml")
        layout = layout_of(modalities)
        source = self.open(config, modalities, layout)
        report = Report(self.name, len(source), dict.fromkeys(sorted(source.streams), 0))
        advance, rng = begin(len(source)), np.random.default_rng(0)
        for index in range(len(source)):
            try:
                tokens = source.sample(index, rng)
            except Exception as error:  # damaged files make libraries and plugins fail in many ways
                report.problems.add("samples", "not usable", problem_line(source.describe(index), error))
            else:
                for name, array in tokens.items():
                    report.counts[name] += 1
                    report.add_tokens(layout, name, array, source.describe(index))
            advance(1)
        return report


def spread(length: int, count: int) -> list[int]:
    """Up to `count` indices from all over a dataset."""
    return sorted({round(k) for k in np.linspace(0, length - 1, min(count, length))})


def installed() -> dict[str, Modality]:
    """All installed modalities with their default settings."""
    return {name: registry().modality(name)() for name in registry().modalities()}


def layout_of(modalities: Mapping[str, Modality]) -> Layout:
    """The streams of some modalities side by side."""
    return Layout(stream for modality in modalities.values() for stream in modality.streams())


def streams_of(modality: Modality, layout: Layout) -> frozenset[str]:
    """The streams of a modality in the layout."""
    return frozenset(s.name for s in layout.streams if s.modality == modality.name)


def tokenized(
    modality: Modality, value: Any, streams: Collection[str], layout: Layout, rng: np.random.Generator
) -> Tokens:
    """Tokens of a natural value, at least of `streams`; of many spellings, one is drawn. Raises PluginError."""
    if modality.draws:
        tokens = modality.tokenize([value], rng)  # type: ignore[call-arg]
        return checked_tokens(modality, layout, "tokenize", tokens)
    if streams == streams_of(modality, layout):
        return checked_tokens(modality, layout, "tokenize", modality.tokenize([value]))
    return checked_tokens(modality, layout, "condition", modality.condition([value], streams))
