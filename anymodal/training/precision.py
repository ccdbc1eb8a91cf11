"""Which precision "auto" is: what a device is fast in when a run begins, and from then on that of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.errors import CheckpointError, brief
from anymodal.nn.device import fast_precision
from anymodal.nn.distributed import World
from anymodal.training.settings import PRECISIONS, TrainingSettings


def resolved(settings: TrainingSettings, world: World) -> TrainingSettings:
    """The settings with a precision for "auto": what the first process's device is fast in, for all processes."""
    if settings.precision != "auto":
        return settings
    fast = world.agree(PRECISIONS.index(fast_precision(world.device)))
    return attrs.evolve(settings, precision=PRECISIONS[fast])


def as_begun(settings: TrainingSettings, path: Path, state: Mapping[str, Any]) -> TrainingSettings:
    """The settings with the precision that a checkpoint was made in; as they are where it does not say.

    Raises CheckpointError if what it says is no precision.
    """
    precision = state.get("settings", {}).get("precision", settings.precision)
    if precision not in PRECISIONS:
        raise CheckpointError(
            f"{path} is damaged: its precision is {brief(precision)}; delete it to fall back on an older one."
        )
    return attrs.evolve(settings, precision=precision)
