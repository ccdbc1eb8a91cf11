"""What a run has to have in common with the one whose checkpoint it takes up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.data.digest import changes
from anymodal.errors import CheckpointError, ConfigError
from anymodal.training.settings import TrainingSettings

MAY_CHANGE = {"steps", "log_every", "save_every", "max_minutes", "accumulate", "max_bad"}


def check_same_run(
    path: Path, state: Mapping[str, Any], settings: TrainingSettings, meaning: Mapping[str, Any]
) -> None:
    """Raise ConfigError if the checkpoint at `path` was made with other settings, or its weights mean something else.

    `state` is what the checkpoint holds beside tensors. What it does not know is as it is now: it did not exist then.
    Raises CheckpointError if it is damaged.
    """
    if not all(isinstance(state.get(part, {}), Mapping) for part in ("settings", "meaning")):
        raise CheckpointError(f"{path} is damaged: it has no settings; delete it to fall back on an older one.")
    for name, value in attrs.asdict(settings).items():
        before = state.get("settings", {}).get(name, value)
        before = tuple(before) if isinstance(before, list) else before
        if name not in MAY_CHANGE and value != before:
            raise ConfigError(
                f"the run in {path} was started with {name} = {before!r}, not {value!r};"
                " resume it with the same value, or start anew in another folder."
            )
    if told := changes(state.get("meaning", meaning), meaning):
        raise ConfigError(
            f"the run in {path} was made otherwise: {told}; resume it as it was, or start anew in another folder."
        )
