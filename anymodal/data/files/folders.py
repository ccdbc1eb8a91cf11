"""Plain folders: root/PART/[CLASS/]NAME.ext."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import attrs

from anymodal.data.files import storage
from anymodal.data.files.index import FileIndex, Wanted, key_and_suffix
from anymodal.data.files.layout import FileLayout, Place
from anymodal.data.files.names import readable, refusal
from anymodal.files import VIEW


@attrs.frozen
class Folders(FileLayout):
    """A folder for each part, a file for each sample."""

    name: str = attrs.field(init=False, default="folders")
    description: ClassVar[str] = "a folder for each modality, a file for each sample: rgb/0001.png"

    def recognizes(self, place: Place) -> bool:
        return True

    def names(self, place: Place) -> set[str]:
        return {each.name for each in place.entries if each.is_folder}

    def open(self, place: Place, count: int | None) -> FileIndex:
        return FolderIndex(place, place.chosen(self.names(place)), count)


class FolderIndex(FileIndex):
    """Plain files in folders."""

    def __init__(self, place: Place, folders: dict[str, str], count: int | None) -> None:
        super().__init__(place.path, folders)
        self._names = {part: self._list(place, part, place.wanted[part]) for part in folders}
        self._keys = sorted(set().union(*self._names.values()))[:count]
        self._is_remote = storage.is_remote(self.root)

    def _list(self, place: Place, part: str, want: Wanted) -> dict[str, str]:
        """The files of a part by the name of the sample."""
        folder = storage.join(self.root, self.folders[part])
        found: dict[str, str] = {}
        for entry in place.within(self.folders[part]):
            inside = storage.entries(storage.join(folder, entry.name)) if entry.is_folder else [entry]
            for each in inside:
                name = f"{entry.name}/{each.name}" if entry.is_folder else each.name
                shown = readable(name)
                key, suffix = key_and_suffix(shown)
                if refused := refusal(folder, shown):
                    self.problems.add(part, "unsafe name", refused)
                elif name.endswith(VIEW):
                    continue
                elif each.is_folder or suffix not in want.suffixes:
                    self.problems.add(part, "not read", storage.join(folder, shown))
                elif key in found:
                    self.problems.add(part, "name used twice", storage.join(folder, shown))
                else:
                    found[key] = name
        return found

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        return self._keys[index]

    def holds(self, part: str, index: int) -> bool:
        return self._keys[index] in self._names.get(part, ())

    def place(self, part: str, index: int) -> str:
        return readable(self._file(part, index))

    def _file(self, part: str, index: int) -> str:
        name = self._names[part][self._keys[index]]
        return storage.join(storage.join(self.root, self.folders[part]), name)

    def suffix(self, part: str, index: int) -> str:
        return Path(self._names[part][self._keys[index]]).suffix.lower()

    def stamp(self, part: str, index: int) -> str:
        return storage.stamp(self._file(part, index))[1]

    def read(self, part: str, index: int) -> bytes:
        return storage.read(self._file(part, index))

    @contextmanager
    def path(self, part: str, index: int) -> Iterator[Path]:
        if self._is_remote:
            with super().path(part, index) as path:
                yield path
        else:
            yield Path(self._file(part, index))
