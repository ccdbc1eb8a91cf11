"""Learning rates over the steps of a run: one small class of settings for each schedule.

A schedule is added by a class derived from `Schedule`, in `SCHEDULES`. Another distribution adds its own with
`SCHEDULES.add`, or by an entry point in the group "anymodal.learning_rate_schedules".
"""

from __future__ import annotations

import math

from attrs import field, frozen

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import at_least, between, whole


@frozen(kw_only=True)
class Schedule:
    """The share of the peak learning rate that a step has; it rises linearly over the first `warmup_steps`."""

    name: str = field(init=False)
    warmup_steps: int = field(default=0, validator=[whole, at_least(0)])

    def share(self, step: int, steps: int) -> float:
        """The share, in [0, 1], at a step (from 0) of a run of `steps`."""
        raise NotImplementedError

    def warmup(self, step: int) -> float:
        """The share as far as the warm-up limits it."""
        return min(1.0, (step + 1) / max(1, self.warmup_steps))


SCHEDULES = SettingsTable(Schedule, "learning-rate schedule", default="cosine")


@SCHEDULES.add
@frozen(kw_only=True)
class CosineSchedule(Schedule):
    """Half a cosine from the end of the warm-up to the last step, down to the share `minimum` of the peak."""

    name: str = field(init=False, default="cosine")
    minimum: float = field(default=0.0, validator=between(0, 1))

    def share(self, step: int, steps: int) -> float:
        if step < self.warmup_steps:
            return self.warmup(step)
        done = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        return self.minimum + (1 - self.minimum) * 0.5 * (1 + math.cos(math.pi * done))


@SCHEDULES.add
@frozen(kw_only=True)
class ConstantSchedule(Schedule):
    """All of the peak learning rate after the warm-up."""

    name: str = field(init=False, default="constant")

    def share(self, step: int, steps: int) -> float:
        return self.warmup(step)


@SCHEDULES.add
@frozen(kw_only=True)
class TrapezoidSchedule(Schedule):
    """All of the peak after the warm-up, and over the last share `decay` of the steps linearly down to the share
    `minimum` of the peak (Zhai et al. 2022, arXiv 2106.04560). A run may be prolonged until that part begins."""

    name: str = field(init=False, default="trapezoid")
    decay: float = field(default=0.2, validator=between(0, 1, above=True))
    minimum: float = field(default=0.0, validator=between(0, 1))

    def share(self, step: int, steps: int) -> float:
        left = (steps - step) / max(1, int(steps * self.decay))
        return min(self.warmup(step), self.minimum + (1 - self.minimum) * left)
