"""The files of an aligned dataset, by part and index of the sample (4M, arXiv 2312.06647).

Files that belong to one sample have the same name. A part is what lies under a name of its own: a modality, a stream
that is stored as tokens, or the settings of crops. Each layout of files has an index of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from anymodal.content import file_in_memory
from anymodal.data.order import Shuffled
from anymodal.data.report import ProblemCounts


@attrs.frozen
class Wanted:
    """The names under which a part may lie, the first one found counts, and the file endings that it may have."""

    folders: tuple[str, ...]
    suffixes: tuple[str, ...]


@attrs.frozen
class Shard:
    """Samples `start` to `stop` of a dataset lie in the tars of that name, such as shard-00000."""

    name: str
    start: int
    stop: int


class FileIndex(ABC):
    """The files of an aligned dataset by part and index of the sample. A sample may lack parts.

    `folders` maps the parts that were found to the names under which they lie; `problems` says what was odd while
    listing them; `shards` are those of the dataset, none where it has none; `layout` is how the files lie.
    """

    shards: tuple[Shard, ...] = ()
    layout: str = ""

    def __init__(self, root: str, folders: dict[str, str]) -> None:
        self.root, self.folders, self.problems = root, folders, ProblemCounts()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, index: int) -> str:
        """The name of a sample."""

    @abstractmethod
    def holds(self, part: str, index: int) -> bool:
        """Whether the sample has the part, as far as that is known; a damaged shard may hold it."""

    @abstractmethod
    def place(self, part: str, index: int) -> str:
        """Where the file lies, for people."""

    @abstractmethod
    def suffix(self, part: str, index: int) -> str:
        """The ending of the file, in lower case."""

    @abstractmethod
    def read(self, part: str, index: int) -> bytes:
        """The content of the file. Raises DataError."""

    def stamp(self, part: str, index: int) -> str:
        """What changes when the file does, such as its size and times; empty where only its content tells.

        Raises DataError.
        """
        return ""

    def describe(self, index: int) -> str:
        """Where the sample lies, for people."""
        return f"{self.key(index)} of {self.root}"

    @contextmanager
    def path(self, part: str, index: int) -> Iterator[Path]:
        """A local file with the content, which may lie in memory. Raises DataError."""
        with file_in_memory(self.read(part, index), self.suffix(part, index)) as path:
            yield path

    def order(self, seed: int) -> Callable[[int], int]:
        """Which sample comes at a position: every epoch visits each once, in an order drawn from the seed."""
        return Shuffled(len(self), seed)


def key_and_suffix(name: str) -> tuple[str, str]:
    """A file's name without its ending, and the ending in lower case; both empty for a hidden file or no ending."""
    stem, dot, ending = name.removeprefix("./").rpartition(".")
    hidden = stem.rpartition("/")[2].startswith(".")
    return (stem, f".{ending.lower()}") if dot and stem and not hidden else ("", "")
