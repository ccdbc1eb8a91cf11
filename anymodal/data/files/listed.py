"""Files that were named one by one, as samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anymodal.data.files import storage
from anymodal.data.files.index import FileIndex


class ListedFiles(FileIndex):
    """Local files by part and name of the sample, in the order of these names; a sample may lack parts.

    `root` is what people named, for messages.
    """

    def __init__(self, root: str, parts: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(root, {part: part for part in parts})
        self._files = {part: dict(files) for part, files in parts.items()}
        self._keys = sorted(set().union(*self._files.values()))

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        return self._keys[index]

    def holds(self, part: str, index: int) -> bool:
        return self._keys[index] in self._files.get(part, ())

    def place(self, part: str, index: int) -> str:
        return self._files[part][self._keys[index]]

    def suffix(self, part: str, index: int) -> str:
        return Path(self.place(part, index)).suffix.lower()

    def stamp(self, part: str, index: int) -> str:
        return storage.stamp(self.place(part, index))[1]

    def read(self, part: str, index: int) -> bytes:
        return storage.read(self.place(part, index))
