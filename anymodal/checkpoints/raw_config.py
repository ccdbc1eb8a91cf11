"""The config of a checkpoint before its format is known: config.json, or the header of a single file of weights.

Published single files keep each key of the config as text in the safetensors header (4M, arXiv 2312.06647).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from anymodal.checkpoints.repository import CONFIG, Files, SingleFile
from anymodal.config import parse_yaml
from anymodal.errors import CheckpointError, ConfigError
from anymodal.files import read_object

LONGEST_VALUE = 10_000


@attrs.frozen
class RawConfig:
    """The values of a config by key, and where they were found."""

    values: Mapping[str, Any]
    source: str


def read_raw_config(files: Files) -> RawConfig:
    """The config of a checkpoint, whatever its format. Raises CheckpointError."""
    if not isinstance(files, SingleFile):
        return RawConfig(read_object(files.path(CONFIG)), f"{files}/{CONFIG}")
    from anymodal.checkpoints.weights import WeightFile

    with WeightFile.single(files.file) as file:
        header = file.metadata()
    values = {key: parse_header_value(text) for key, text in header.items()}
    if not values.keys() - {"format"}:
        raise CheckpointError(f"{files} holds weights but no config; give the folder that has its {CONFIG}")
    return RawConfig(values, f"the header of {files}")


def parse_header_value(text: str) -> Any:
    """A config value from its text in a header: YAML after None -> null; what is not YAML stays text."""
    if len(text) > LONGEST_VALUE:
        return text
    try:
        return parse_yaml(text.replace("None", "null"))
    except ConfigError:
        return text
