"""Checks and converters of settings; each raises ConfigError with the value."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from anymodal.errors import ConfigError


def one_of(*choices: str) -> Callable[..., None]:
    def check(instance: object, attribute: attrs.Attribute, value: object) -> None:
        if value not in choices:
            raise ConfigError(f"{attribute.name} must be one of {', '.join(choices)}, got {value!r}")

    return check


def at_least(low: float) -> Callable[..., None]:
    def check(instance: object, attribute: attrs.Attribute, value: float) -> None:
        if not value >= low:
            raise ConfigError(f"{attribute.name} must be at least {low}, got {value!r}")

    return check


def at_most(high: float) -> Callable[..., None]:
    def check(instance: object, attribute: attrs.Attribute, value: float) -> None:
        if not value <= high:
            raise ConfigError(f"{attribute.name} must be at most {high}, got {value!r}")

    return check


def integer(value: float) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not real(value).is_integer():
        raise ConfigError(f"expected a whole number, got {value!r:.80}")
    return int(value)


def real(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"expected a number, got {value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigError("expected a number that fits 64 bits, got one of hundreds of digits") from None
