"""Weights by patterns of their names, such as "encoder.*"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from torch import nn

from anymodal.errors import ConfigError


def matching(model: nn.Module, patterns: Iterable[str], key: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters whose names fit one of the patterns. Raises ConfigError for a pattern that fits none."""
    named = dict(model.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in named))
            raise ConfigError(f"{key} names {pattern!r}, which fits no weight; names begin with {known}")
    return ((name, p) for name, p in named.items() if any(fnmatchcase(name, pattern) for pattern in patterns))
