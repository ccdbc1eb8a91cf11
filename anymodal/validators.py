"""Checks, converters and tables for classes of settings; each error is a ConfigError with the field and its value.

    @attrs.frozen(kw_only=True)
    class Settings:
        steps: int = attrs.field(validator=[whole, at_least(1)])
        decay: float = attrs.field(default=0.9, validator=between(0, 1, below=True))
        sizes: tuple[int, ...] = attrs.field(default=(), converter=as_tuple, validator=each(whole, at_least(1)))
        limit: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))

A `Table` holds a choice among several classes of settings, to which other distributions may add theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

import attrs

from anymodal.errors import ConfigError, PluginError, nearest, one_line

T = TypeVar("T")
Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def unfit(instance: object, attribute: attrs.Attribute[Any], value: object, wanted: str) -> ConfigError:
    """The error of a field with a value other than what is `wanted`, such as "at least 1"."""
    return ConfigError(f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {value!r:.80}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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


def count(most: int = 2**24) -> Validator:
    """The value is a whole number from 1 to `most`; more than millions of parts are a damaged file."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        whole(instance, attribute, value)
        if not 1 <= value <= most:
            shown = f"{value:.3g}" if value > most else value
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


def as_tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    """A converter of lists, as files have them; text is not taken apart."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"expected a list, got {values!r:.80}")
    return tuple(values)


def integer(value: float) -> int:
    """A converter: a whole number, 3.0 too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not real(value).is_integer():
        raise ConfigError(f"expected a whole number, got {value!r:.80}")
    return int(value)


def real(value: float) -> float:
    """A converter: a number that is no bool, as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"expected a number, got {value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigError("expected a number that fits 64 bits, got one of hundreds of digits") from None


class Table(Generic[T]):
    """A choice by name among classes of settings, all of them attrs classes derived from one `base`.

    Each class states its name as the default of the field `tag`, which is not an argument; in a configuration a choice
    is a block {tag: NAME, ...} with the fields of that class, or the name alone where defaults do. A block without the
    tag is the `default`.

        @SCHEDULES.add
        @attrs.frozen(kw_only=True)
        class Steps(Schedule):
            name: str = attrs.field(init=False, default="steps")

    An installed distribution adds a class by an entry point in `group` with the class's name; it is imported when that
    name is asked for.
    """

    def __init__(self, base: type[T], what: str, tag: str = "name", default: str | None = None) -> None:
        """A table without classes; `what` says in messages and in `group` what one of them is, such as "schedule"."""
        self.base, self.what, self.tag, self.default = base, what, tag, default
        self.group = "anymodal." + re.sub(r"\W+", "_", what) + "s"
        self._classes: dict[str, type[T]] = {}
        _TABLES[base] = self

    def add(self, cls: type[T]) -> type[T]:
        """Make a class a choice, and return it. Raises ConfigError for another base, and for a name that is taken."""
        if not issubclass(cls, self.base):
            raise ConfigError(f"{cls.__name__} is no {self.base.__name__}, so it cannot be a {self.what}")
        field = attrs.fields_dict(cls).get(self.tag)  # type: ignore[arg-type]
        if field is None or field.init or not isinstance(field.default, str):
            raise ConfigError(f"{cls.__name__} needs a field {self.tag!r} with init=False and its name as the default")
        taken = self._classes.get(field.default, cls)
        if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):  # not a cell that runs again
            raise ConfigError(f"there is a {self.what} {field.default!r} already; choose another name")
        self._classes[field.default] = cls
        return cls

    def remove(self, name: str) -> None:
        """Take a class out again, as tests do."""
        self._classes.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        """The names of all that can be chosen; nothing is imported."""
        yield from dict.fromkeys([*self._classes, *(entry.name for entry in entry_points(group=self.group))])

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> type[T]:
        """The class of that name. Raises ConfigError if there is none, PluginError if it cannot be imported."""
        if name in self._classes:
            return self._classes[name]
        entries = {entry.value: entry for entry in entry_points(group=self.group) if entry.name == name}
        if not entries:
            known = list(self)
            raise ConfigError(
                f"there is no {self.what} {name!r:.80}{nearest(str(name), known)}; choose from {', '.join(known)}"
            )
        if len(entries) > 1:
            raise ConfigError(f"several distributions have a {self.what} {name!r}: {', '.join(entries)}; remove one")
        (entry,) = entries.values()
        try:
            cls = self.add(entry.load())
        except Exception as error:  # an import of a stranger's module fails in many ways
            raise PluginError(f"the {self.what} {name!r} ({entry.value}) cannot be used: {one_line(error)}") from error
        if self._classes.get(name) is not cls:
            raise PluginError(f"the {self.what} {name!r} ({entry.value}) calls itself by another name")
        return cls

    def name_of(self, raw: Any) -> str:
        """The name in a block or a name alone. Raises ConfigError where there is none."""
        name = raw.get(self.tag, self.default) if isinstance(raw, Mapping) else raw
        if not isinstance(name, str):
            raise ConfigError(f"a {self.what} is a name or a block with {self.tag!r}, got {raw!r:.80}")
        return name

    def __call__(self, value: Any) -> T:
        """A converter: settings of one of the classes, from themselves, a name, or a block with a name and fields."""
        if isinstance(value, self.base):
            return value
        cls = self[self.name_of(value)]
        fields = {key: each for key, each in value.items() if key != self.tag} if isinstance(value, Mapping) else {}
        known = init_fields(cls)
        for key in fields:
            if key not in known:
                raise ConfigError(
                    f"the {self.what} {self.name_of(value)!r} has no {key!r}{nearest(str(key), known)};"
                    f" it has {', '.join(known)}"
                )
        try:
            return cls(**fields)
        except TypeError as error:  # of what is missing
            raise ConfigError(f"the {self.what} {self.name_of(value)!r} cannot be made: {one_line(error)}") from None


def init_fields(cls: type) -> list[str]:
    """The names of the arguments of an attrs class."""
    return [field.name for field in attrs.fields(cls) if field.init]  # type: ignore[arg-type]


_TABLES: dict[type, Table[Any]] = {}


def table_of(schema: Any) -> Table[Any] | None:
    """The table whose classes derive from this one, if there is one."""
    return _TABLES.get(schema) if isinstance(schema, type) else None
