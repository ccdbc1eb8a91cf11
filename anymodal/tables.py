"""Tables of choices by name, such as schedules and schemes, to which third parties can add their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from anymodal.errors import ConfigError, nearest

T = TypeVar("T")


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
