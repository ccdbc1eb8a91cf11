"""The formats of checkpoints: each reads and writes models and tokenizers, one folder a format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal.checkpoints.formats.base import Format
from anymodal.checkpoints.formats.fourm.format import FourM
from anymodal.checkpoints.formats.native.format import Native
from anymodal.errors import ConfigError, nearest

# By name. The first that recognizes a checkpoint reads it; a package may add its own.
FORMATS: dict[str, Format] = {format.name: format for format in (Native(), FourM())}


def format_named(name: str) -> Format:
    """The format of that name. Raises ConfigError."""
    if name not in FORMATS:
        raise ConfigError(f"there is no format {name!r}{nearest(name, FORMATS)} (known: {', '.join(FORMATS)})")
    return FORMATS[name]


def format_of_model(config: Mapping[str, Any]) -> Format | None:
    """The format of a model with that config, or None."""
    return next((format for format in FORMATS.values() if format.recognizes_model(config)), None)


def format_of_tokenizer(config: Mapping[str, Any]) -> Format | None:
    """The format of a tokenizer with that config, or None."""
    return next((format for format in FORMATS.values() if format.recognizes_tokenizer(config)), None)
