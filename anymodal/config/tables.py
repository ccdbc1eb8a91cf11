"""Tables of choices by name, to which other distributions may add theirs.

A `Table` holds things of one kind, such as functions; a `SettingsTable` classes of settings, each with its own fields.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from anymodal.errors import ConfigError, PluginError, nearest, one_line, plural

T = TypeVar("T")


def _installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group; they are read anew where something was installed since."""
    times: list[int] = []
    for path in sys.path:
        with suppress(OSError):
            times.append(Path(path).stat().st_mtime_ns)
    return _read(group, tuple(sys.path), tuple(times))


@lru_cache(64)
def _read(group: str, paths: tuple[str, ...], times: tuple[int, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


class Table(dict[str, T]):
    """The choices of one kind by name; `kind` is what messages call one of them.

    A plugin adds its own where it is loaded, with ``@TABLE.register("name")`` above a class.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """Add what is decorated under a name. Raises ConfigError if another one has the name."""

        def add(entry: T) -> T:
            if self.get(name, entry) is not entry:
                raise ConfigError(f"there is a {self.kind} {name!r} already ({self[name]!r}); choose another name")
            self[name] = entry
            return entry

        return add

    def choose(self, name: object) -> T:
        """The entry of a name that a user wrote. Raises ConfigError with the nearest name, and all there are."""
        if isinstance(name, str) and name in self:
            return self[name]
        raise ConfigError(f"there is no {self.kind} {name!r:.80}{nearest(str(name), self)}; known: {', '.join(self)}")


class SettingsTable(Generic[T]):
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
        self.group = "anymodal." + re.sub(r"\W+", "_", plural(what))
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
        yield from dict.fromkeys([*self._classes, *(entry.name for entry in _installed(self.group))])

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> type[T]:
        """The class of that name. Raises ConfigError if there is none, PluginError if it cannot be imported."""
        if name in self._classes:
            return self._classes[name]
        entries = {entry.value: entry for entry in _installed(self.group) if entry.name == name}
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


_TABLES: dict[type, SettingsTable[Any]] = {}


def table_of(schema: Any) -> SettingsTable[Any] | None:
    """The table whose classes derive from this one, if there is one."""
    return _TABLES.get(schema) if isinstance(schema, type) else None
