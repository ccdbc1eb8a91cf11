"""The temperature of each step of a grid. The published ones are those of 4M (arXiv 2312.06647)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import at_least, at_most, real
from anymodal.sampling.spelling import spelled

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

HIGHEST = 1000.0  # of temperatures, and of powers in an anneal
COLDEST = 1e-9  # of the linear anneal


@attrs.frozen
class Anneal(ABC):
    """How the temperature of a grid changes from step to step.

    Add your own: a frozen attrs class whose fields are numbers, under ``@ANNEALS.add``.
    """

    name: str = attrs.field(init=False)

    @abstractmethod
    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        """A temperature of at least 0 for each step; `counts` are the tokens of the steps, at least 1 each."""

    def __str__(self) -> str:
        return spelled(self)


ANNEALS: SettingsTable[Anneal] = SettingsTable(Anneal, "temperature anneal", default="constant")  # type: ignore[type-abstract]


@ANNEALS.add
@attrs.frozen
class ConstantAnneal(Anneal):
    """Always the same."""

    name: str = attrs.field(init=False, default="constant")

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        return [temperature] * len(counts)


@ANNEALS.add
@attrs.frozen
class LinearAnneal(Anneal):
    """In proportion to the tokens that are left before the step."""

    name: str = attrs.field(init=False, default="linear")

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        done = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.maximum(temperature * (1 - done / sum(counts)), COLDEST).tolist()


@ANNEALS.add
@attrs.frozen
class InverseAnneal(Anneal):
    """Falls like x ** -power for x from 1 to 100, times the share of tokens left, to `minimum`."""

    name: str = attrs.field(init=False, default="onex")
    minimum: float = attrs.field(converter=real, validator=[at_least(0), at_most(HIGHEST)])
    power: float = attrs.field(converter=real, validator=[at_least(0), at_most(HIGHEST)])

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        total = sum(counts)
        curve = np.linspace(1, 100, total) ** -self.power
        span = curve[0] - curve[-1]
        unit = (curve - curve[-1]) / span if span > 0 else np.ones(total)
        left = 1 - np.cumsum(counts) / total
        return (self.minimum + (temperature - self.minimum) * unit[: len(counts)] * left).tolist()


@ANNEALS.add
@attrs.frozen
class FallingAnneal(Anneal):
    """Straight down to `minimum` with the share of tokens decided after the step."""

    name: str = attrs.field(init=False, default="down")
    minimum: float = attrs.field(converter=real, validator=[at_least(0), at_most(HIGHEST)])

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        return (temperature + (self.minimum - temperature) * np.cumsum(counts) / sum(counts)).tolist()
