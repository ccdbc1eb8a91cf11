"""What a shard was made from: noticed by size and time, and by content where these differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from anymodal.data.digest import digest
from anymodal.data.files import storage
from anymodal.data.files.index import FileIndex
from anymodal.errors import AnymodalError, one_line

LENGTH = 32  # hexadecimal digits of a digest


class Inputs:
    """The files of one part for the samples of a shard. `state` is what is kept of them, in one line."""

    def __init__(self, files: FileIndex, part: str, rows: Sequence[int]) -> None:
        self.files, self.part = files, part
        self.rows = [row for row in rows if files.holds(part, row)]

    @property
    def state(self) -> str:
        return f"{self.stamps} {self.content}"

    @cached_property
    def stamps(self) -> str:
        """A digest of names, sizes and times; it tells nothing where a layout does not say them."""
        return digest([[self.files.key(row), self._stamp(row)] for row in self.rows])[:LENGTH]

    def _stamp(self, row: int) -> str:
        try:
            return self.files.stamp(self.part, row)
        except AnymodalError as error:
            return str(error)

    @cached_property
    def content(self) -> str:
        """A digest of names and contents; of files behind an address, which say when they change, "-"."""
        if storage.is_remote(self.files.root):
            return "-"
        whole = hashlib.sha256()
        for row in self.rows:
            try:
                data = self.files.read(self.part, row)
            except AnymodalError as error:
                data = one_line(error).encode()
            whole.update(f"{self.files.key(row)}\n{self.files.suffix(self.part, row)}\n{len(data)}\n".encode())
            whole.update(data)
        return whole.hexdigest()[:LENGTH]

    def same_times(self, state: str) -> bool:
        """Whether nothing that was kept about times and sizes is another now."""
        return state.partition(" ")[0] == self.stamps and all(map(self._stamp, self.rows[:1]))

    def known_after(self, state: str) -> str:
        """What is kept where something was left out; of files that changed meanwhile nobody knows what was read."""
        return state if state.partition(" ")[0] == self.stamps else f"{self.stamps} -"

    def same(self, state: str) -> bool:
        """Whether the files are those of which `state` was kept."""
        if self.same_times(state):
            return True
        content = state.partition(" ")[2]
        return content not in ("", "-") and content == self.content


def inputs_of(files: FileIndex, parts: Iterable[str], rows: Sequence[int]) -> dict[str, Inputs]:
    """What is read for a shard, by the parts that the dataset has."""
    return {part: Inputs(files, part, rows) for part in parts if part in files.folders}


def states(inputs: Mapping[str, Inputs]) -> dict[str, str]:
    """What is kept of them."""
    return {part: each.state for part, each in inputs.items()}


def address(place: str) -> str:
    """A path or an address as it is written down: whole, and without passwords and signatures."""
    if not storage.is_remote(place):
        return str(Path(place).resolve())
    return re.sub(r"//[^/@]*@", "//", place).partition("?")[0]
