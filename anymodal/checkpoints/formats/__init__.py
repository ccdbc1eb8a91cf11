"""The formats of checkpoints: each reads and writes models and tokenizers, one folder a format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal.checkpoints.formats.base import Format
from anymodal.checkpoints.formats.fourm.format import FourM
from anymodal.checkpoints.formats.native.format import Native
from anymodal.config.tables import Table

# The first that recognizes a checkpoint reads it; a package may add its own.
FORMATS: Table[Format] = Table("format", {format.name: format for format in (Native(), FourM())})


def format_of_model(config: Mapping[str, Any]) -> Format | None:
    """The format of a model with that config, or None."""
    return next((format for format in FORMATS.values() if format.recognizes_model(config)), None)


def format_of_tokenizer(config: Mapping[str, Any]) -> Format | None:
    """The format of a tokenizer with that config, or None."""
    return next((format for format in FORMATS.values() if format.recognizes_tokenizer(config)), None)
