"""What a run has to have in common with the one whose checkpoint it takes up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.data.digest import changes
from anymodal.errors import CheckpointError, ConfigError
from anymodal.training.settings import TrainingSettings

MAY_CHANGE = {"steps", "log_every", "save_every", "max_minutes", "accumulate", "max_bad"}


def check_same_run(
    path: Path, state: Mapping[str, Any], settings: TrainingSettings, fingerprint: Mapping[str, Any]
) -> None:
    """Make sure that a checkpoint is of the same run. What it does not know is as it is now: it did not exist then.

    Args:
        path: of the checkpoint, for messages.
        state: what the checkpoint holds beside tensors.
        settings: of the run that takes it up; its precision "auto" is that of the checkpoint.
        fingerprint: what the weights of that run are for.

    Raises:
        ConfigError: it was made with other settings, or its weights mean something else.
        CheckpointError: it is damaged.
    """
    if not all(isinstance(state.get(part, {}), Mapping) for part in ("settings", "fingerprint")):
        raise CheckpointError(f"{path} is damaged: it has no settings; delete it to fall back on an older one.")
    before = _flat(state.get("settings", {}))
    for name, value in _flat(json.loads(json.dumps(attrs.asdict(settings)))).items():
        if name in MAY_CHANGE or (name, value) == ("precision", "auto"):
            continue
        if value != (old := before.get(name, value)):
            raise ConfigError(
                f"the run in {path} was started with {name} = {old!r}, not {value!r};"
                " resume it with the same value, or start anew in another folder."
            )
    if told := changes(_filled({**fingerprint, **state.get("fingerprint", {})}, fingerprint), fingerprint):
        raise ConfigError(
            f"the run in {path} was made with other settings: {told}; resume it as it was, or start anew in another"
            " folder."
        )


def _filled(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says, with the settings that did not exist when it was made as they are now.

    Settings are what has names and holds nothing that has names itself, such as one space among those of all streams.
    """
    filled = dict(before)
    for name, value in before.items():
        if isinstance(value, Mapping) and isinstance(mine := now.get(name), Mapping):
            settings = not any(isinstance(each, Mapping) for each in mine.values())
            filled[name] = {**mine, **value} if settings else _filled(value, mine)
    return filled


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by dotted names, such as "optimizer.betas"."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found
