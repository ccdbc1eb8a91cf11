"""What a layout of files is: how the files of an aligned dataset are arranged, and who finds them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import ClassVar, TypeVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.data.files import storage
from anymodal.data.files.index import FileIndex, Wanted
from anymodal.errors import PluginError

T = TypeVar("T")
log = logging.getLogger("anymodal")


class Place:
    """A path or an address, and the parts that are looked for there; what was listed once is remembered."""

    def __init__(self, path: str, wanted: Mapping[str, Wanted] | None = None) -> None:
        self.path, self.wanted = path, dict(wanted or {})
        self._within: dict[str, list[storage.Entry]] = {}

    @cached_property
    def entries(self) -> list[storage.Entry]:
        """What the folder holds. Raises DataError if there is no such folder."""
        return storage.entries(self.path)

    def within(self, folder: str) -> list[storage.Entry]:
        """What a folder of it holds. Raises DataError."""
        if folder not in self._within:
            self._within[folder] = storage.entries(storage.join(self.path, folder))
        return self._within[folder]

    def chosen(self, names: Collection[str]) -> dict[str, str]:
        """For each part that lies under one of the names that there are, the first such name."""
        firsts = {part: next((f for f in want.folders if f in names), None) for part, want in self.wanted.items()}
        return {part: name for part, name in firsts.items() if name is not None}


@attrs.frozen
class FileLayout(ABC):
    """How the files of an aligned dataset are arranged.

    A class derived from it states its `name`, `description`, one line for people, and `units`, what its parts are
    called. `anymodal.data.files.open.FILE_LAYOUTS` is the table of all of them.
    """

    name: str = attrs.field(init=False)
    description: ClassVar[str] = ""
    units: ClassVar[str] = "folders"

    @abstractmethod
    def recognizes(self, place: Place) -> bool:
        """Whether a dataset is arranged so. Raises DataError for a place that cannot be listed."""

    @abstractmethod
    def names(self, place: Place) -> set[str]:
        """The names under which parts lie there, whether or not they are looked for. Raises DataError."""

    def told(self, names: Collection[str]) -> str:
        """The names that there are, for people who look for others."""
        return f"its {self.units}: {', '.join(sorted(names)) or 'none'}"

    @abstractmethod
    def open(self, place: Place, count: int | None) -> FileIndex:
        """The files of the parts that are looked for, of the first `count` samples. Raises DataError."""


def usable(table: SettingsTable[T]) -> Iterator[T]:
    """One of each layout of a table, the last one added first; those that cannot be imported are left out."""
    for name in reversed(list(table)):
        try:
            layout = table[name]
        except PluginError as error:
            log.warning("%s", error)
        else:
            yield layout()


def is_tar(entry: storage.Entry) -> bool:
    return not entry.is_folder and entry.name.endswith(".tar")
