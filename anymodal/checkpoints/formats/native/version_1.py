"""Configs of format version 1, from before the words were settled: what was named otherwise is renamed when read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = {"numbers": "settings", "licence": "license"}
SETTINGS = {"colours": "colors"}
VALUES = {"standardise": "standardize"}


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a modality or a tokenizer with today's words."""
    plain = {KEYS.get(key, key): value for key, value in record.items()}
    if isinstance(settings := plain.get("settings"), Mapping):
        plain["settings"] = {SETTINGS.get(name, name): _value(value) for name, value in settings.items()}
    if isinstance(tokenizer := plain.get("tokenizer"), Mapping):
        plain["tokenizer"] = _without_empty_levels(tokenizer)
    return plain


def _without_empty_levels(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer's config whose quantizer has `levels` only where its kind does: once all kinds had them."""
    quantizer = tokenizer.get("quantizer")
    if not isinstance(quantizer, Mapping) or quantizer.get("levels"):
        return dict(tokenizer)
    return {**tokenizer, "quantizer": {key: value for key, value in quantizer.items() if key != "levels"}}


def _value(value: Any) -> Any:
    return VALUES.get(value, value) if isinstance(value, str) else value


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json of a model as format version 2 has it."""
    plain = renamed(config)
    if isinstance(modalities := plain.get("modalities"), Mapping):
        plain["modalities"] = {n: renamed(r) if isinstance(r, Mapping) else r for n, r in modalities.items()}
    return plain | {"format_version": 2}
