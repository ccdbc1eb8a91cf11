"""Checks and converters for classes of settings; each error is a ConfigError with the field and its value.

@attrs.frozen(kw_only=True)
class Settings:
    steps: int = attrs.field(validator=[whole, at_least(1)])
    decay: float = attrs.field(default=0.9, validator=between(0, 1, below=True))
    sizes: tuple[int, ...] = attrs.field(default=(), converter=as_tuple, validator=each(whole, at_least(1)))
    limit: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeGuard

import attrs

from anymodal.errors import ConfigError, brief, nearest

MOST = 2**24  # parts of anything: more is a damaged file, or a slip
LARGEST = 1e300  # of what a float can hold
HEAVIEST = 1e15  # a weight above leaves nothing of what is weighed beside it, and sums of such leave what 32 bits hold
Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def unfit(instance: object, attribute: attrs.Attribute[Any], value: object, wanted: str) -> ConfigError:
    """The error of a field with a value other than what is `wanted`, such as "at least 1"."""
    return ConfigError(f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {brief(value)}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a real number and no bool, for what makes a Python one of it; numpy's are such too."""
    return isinstance(value, Real) and not isinstance(value, bool)


def one_of(*choices: str) -> Validator:
    """The value is one of these."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            error = unfit(instance, attribute, value, f"one of {', '.join(choices)}")
            raise ConfigError(f"{error}{nearest(str(value), choices)}")

    return check


def at_least(low: float) -> Validator:
    """The number is `low` or more; NaN is not."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not _is_number(value) or not value >= low:
            raise unfit(instance, attribute, value, f"at least {low}")

    return check


def at_most(high: float) -> Validator:
    """The number is `high` or less; NaN is not."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not _is_number(value) or not value <= high:
            raise unfit(instance, attribute, value, f"at most {high}")

    return check


def between(low: float, high: float, *, above: bool = False, below: bool = False) -> Validator:
    """The number is in [low, high]; `above` leaves out the lower end, `below` the upper one."""
    wanted = f"in {'(' if above else '['}{low}, {high}{')' if below else ']'}"

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        fits = _is_number(value) and low <= value <= high
        if not fits or (above and value == low) or (below and value == high):
            raise unfit(instance, attribute, value, wanted)

    return check


def positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The number is above 0 and finite."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise unfit(instance, attribute, value, "above 0 and finite")


def finite(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The number is neither infinite nor NaN."""
    if not _is_number(value) or not math.isfinite(value):
        raise unfit(instance, attribute, value, "finite")


def whole(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The value is an int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise unfit(instance, attribute, value, "a whole number")


def a(kind: type, words: str) -> Validator:
    """The value is an object of a class, which is named in words, such as "text"."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind):
            raise unfit(instance, attribute, value, words)

    return check


def count(most: int = MOST) -> Validator:
    """The value is a whole number from 1 to `most`; more than millions of parts are a damaged file."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        whole(instance, attribute, value)
        if not 1 <= value <= most:
            shown = f"{value:.3g}" if most < value < LARGEST else brief(value)
            raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be from 1 to {most}, got {shown}")

    return check


def multiple_of(factor: int) -> Validator:
    """The whole number is a multiple of `factor`."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value % factor:
            raise unfit(instance, attribute, value, f"a multiple of {factor}")

    return check


def each(*validators: Validator, length: int | None = None, least: int = 0) -> Validator:
    """Every value of a tuple passes the validators; there are `length` of them, or at least `least`."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if length is not None and len(value) != length:
            raise unfit(instance, attribute, value, f"{length} values")
        if len(value) < least:
            raise unfit(instance, attribute, value, f"at least {least} values")
        for part in value:
            for validator in validators:
                validator(instance, attribute, part)

    return check


def names(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The values of a tuple are texts, each of which comes once."""
    if not all(isinstance(part, str) for part in value) or len(set(value)) < len(value):
        raise unfit(instance, attribute, list(value), "names, each once")


def as_tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    """A converter of lists, as files have them; texts and mappings are not taken apart."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ConfigError(f"expected a list, got {values!r:.80}")
    return tuple(values)


def integer(value: float) -> int:
    """A converter: a whole number, 3.0 too."""
    if not is_number(value) or not real(value).is_integer():
        raise ConfigError(f"expected a whole number, got {brief(value)}")
    return int(value)


def real(value: float) -> float:
    """A converter: a number that is no bool, as a float."""
    if not is_number(value):
        raise ConfigError(f"expected a number, got {brief(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigError("expected a number that fits 64 bits, got one of hundreds of digits") from None


def weighed(value: Any, what: str, low: float = 0.0) -> float:
    """A converter: how much something counts, from `low` to HEAVIEST, as a float. Raises ConfigError that names it."""
    if not is_number(value) or not low <= real(value) <= HEAVIEST:
        raise ConfigError(f"{what} must be a number from {low:g} to {HEAVIEST:g}, got {brief(value)}")
    return real(value)


def like(default: Any, value: Any, most: int = MOST, least: int | None = None) -> Any:
    """The value as its default is: a list for a tuple, text, a whole number.

    Raises ConfigError for another kind, for whole numbers above `most`, in a list too, and for one below `least`: by
    default 1, or the default where that is less.
    """
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"expected a list, got {value!r:.80}")
        for part in value:
            if isinstance(part, (int, float)) and part > most:
                raise ConfigError(f"expected at most {most}, got {brief(part)}")
        return tuple(value)
    if isinstance(default, (bool, str)):
        if not isinstance(value, type(default)):
            raise ConfigError(f"expected {'text' if isinstance(default, str) else 'true or false'}, got {value!r}")
    elif isinstance(default, int):
        value, least = integer(value), min(default, 1) if least is None else least
        if value < least:
            raise ConfigError(f"expected at least {least}, got {brief(value)}")
        if value > most:
            raise ConfigError(f"expected at most {most}, got {brief(value)}")
    elif isinstance(default, float) and not math.isfinite(real(value)):
        raise ConfigError(f"expected a finite number, got {value!r}")
    return value
