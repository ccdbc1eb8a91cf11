"""Where a run stands, and which of its steps can be used."""

from __future__ import annotations

import math

import attrs

from anymodal.data.report import too_many
from anymodal.errors import AnymodalError, DataError
from anymodal.training.settings import TrainingSettings

SKIPS_IN_A_ROW = 20
USUAL = 0.98  # decay of the average that tells how long a gradient usually is


class TrainingDiverged(AnymodalError):
    """The loss or its gradient was not finite, or exploded, for many steps in a row."""


@attrs.define
class Progress:
    """Steps done, steps skipped (and how many in a row now), unusable samples, and the usual length of a gradient."""

    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    bad: int = 0
    usual: float = 0.0

    @property
    def updates(self) -> int:
        """Steps that changed the weights."""
        return self.step - self.skipped

    def usable(self, norm: float, loss: float, explosion: float) -> bool:
        """Whether a gradient of length `norm` is finite and, once lengths have settled, not `explosion` times as long
        as usual; 0 allows any."""
        settled = self.updates >= SKIPS_IN_A_ROW
        return math.isfinite(norm + loss) and not (explosion and settled and norm > explosion * self.usual)

    def count_update(self, norm: float) -> None:
        """Note the length of a gradient that was used."""
        self.skipped_in_a_row = 0
        self.usual = USUAL * self.usual + (1 - USUAL) * norm if self.usual else norm

    def count_skip(self) -> bool:
        """Note a step that changed nothing; whether there were too many in a row."""
        self.skipped += 1
        self.skipped_in_a_row += 1
        return self.skipped_in_a_row >= SKIPS_IN_A_ROW

    def count_bad(self, bad: int, settings: TrainingSettings, where: str) -> None:
        """Count unusable samples of a step. Raises DataError, which tells `where` they are listed, for too many."""
        self.bad += bad
        seen = (self.step + 1) * settings.batch_size
        if too_many(self.bad, seen, settings.max_bad):
            raise DataError(
                f"{self.bad} of {seen} samples could not be used, more than max_bad = {settings.max_bad} allows{where}"
            )
