"""How many tokens of a grid each step decides. The published ones are those of 4M (arXiv 2312.06647)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.sampling.spelling import spelled

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


@attrs.frozen
class TokenSchedule(ABC):
    """How many tokens of a grid each forward pass decides.

    Add your own: a frozen attrs class whose fields are numbers, under ``@TOKEN_SCHEDULES.add``.
    """

    name: str = attrs.field(init=False)

    @abstractmethod
    def counts(self, total: int, steps: int) -> list[int]:
        """Tokens of each step, which sum to `total` (at least 1), in at most `steps` steps; none may be negative."""

    def __str__(self) -> str:
        return spelled(self)


TOKEN_SCHEDULES: SettingsTable[TokenSchedule] = SettingsTable(TokenSchedule, "token schedule", default="linear")  # type: ignore[type-abstract]


@TOKEN_SCHEDULES.add
@attrs.frozen
class LinearSchedule(TokenSchedule):
    """Even, the larger steps first."""

    name: str = attrs.field(init=False, default="linear")

    def counts(self, total: int, steps: int) -> list[int]:
        return sorted(np.diff(np.linspace(0, total, steps + 1).astype(int)).tolist(), reverse=True)


@TOKEN_SCHEDULES.add
@attrs.frozen
class CosineSchedule(TokenSchedule):
    """The differences of (1 + cos(pi i / steps)) / 2: few tokens at the start and at the end."""

    name: str = attrs.field(init=False, default="cosine")

    def counts(self, total: int, steps: int) -> list[int]:
        left = [0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)] + [0.0]
        counts: list[int] = []
        for i in range(steps):
            wanted = round(total * (left[i] - left[i + 1])) if i < steps - 1 else total
            counts.append(min(wanted, total - sum(counts)))
        return counts
