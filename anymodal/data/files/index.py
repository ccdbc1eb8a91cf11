"""Where the files of an aligned dataset lie (4M, arXiv 2312.06647): the same name in every modality's folder.

    root/MODALITY/[CLASS/]NAME.ext      plain folders
    root/MODALITY/shard-00000.tar       sharded tars with members [CLASS/]NAME.ext, the same shards for every modality

A part is what has a folder of its own: a modality, a stream that is stored as tokens, or the settings of crops.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import numpy as np

from anymodal.data.files import storage
from anymodal.data.files.tar_index import Table, tables
from anymodal.data.order import Shuffled, ShuffledRuns
from anymodal.data.report import Findings
from anymodal.errors import DataError

MEMORY = "/dev/shm"  # a file system that never touches a disk
RUN = 16  # neighbors in a remote tar that are read together
AHEAD = 8 * 1024**2  # bytes that may be read for them at once
KEPT = 64  # such reads that a process keeps
SHARDS_AT_ONCE = 16


@attrs.frozen
class Wanted:
    """The folders in which a part may lie, the first one found counts, and the file endings that it may have."""

    folders: tuple[str, ...]
    suffixes: tuple[str, ...]


@attrs.frozen
class Listing:
    """What lies at `root`: the folder of each part that was found, what is wanted of it, and what it holds."""

    root: str
    folders: dict[str, str]
    wanted: Mapping[str, Wanted]
    within: dict[str, list[storage.Entry]]


@attrs.frozen
class Shard:
    """Samples `start` to `stop` of a dataset lie in the tars of that name, such as shard-00000."""

    name: str
    start: int
    stop: int


class Members(ABC):
    """The files of an aligned dataset by part and index of the sample. A sample may lack parts.

    `folders` maps the parts that were found to their folders; `findings` says what was odd while listing them.
    """

    shards: tuple[Shard, ...] = ()

    def __init__(self, listing: Listing) -> None:
        self.root, self.folders, self.findings = listing.root, listing.folders, Findings()

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

    @abstractmethod
    def describe(self, index: int) -> str:
        """Where the sample lies, for people."""

    @contextmanager
    def path(self, part: str, index: int) -> Iterator[Path]:
        """A local file with the content, which may be a temporary one in memory. Raises DataError."""
        data = self.read(part, index)
        folder = MEMORY if Path(MEMORY).is_dir() else None
        with tempfile.NamedTemporaryFile(dir=folder, prefix="anymodal-", suffix=self.suffix(part, index)) as file:
            file.write(data)
            file.flush()
            yield Path(file.name)

    def order(self, seed: int) -> Callable[[int], int]:
        """Which sample comes at a position: every epoch visits each once, in an order drawn from the seed."""
        return Shuffled(len(self), seed)


def open_members(root: str, wanted: Mapping[str, Wanted], count: int | None = None) -> Members:
    """The files of the first `count` samples. Raises DataError if there are none."""
    listed = storage.entries(root)
    present = {each.name for each in listed if each.is_folder}
    folders = {
        part: name for part, want in wanted.items() if (name := next((f for f in want.folders if f in present), None))
    }
    within = {part: storage.entries(storage.join(root, folder)) for part, folder in folders.items()}
    sharded = {part: any(_is_tar(each) for each in inside) for part, inside in within.items()}
    if any(sharded.values()) and not all(sharded.values()):
        tars, plain = (", ".join(folders[p] for p, s in sharded.items() if s is kind) for kind in (True, False))
        raise DataError(f"{root} mixes tars ({tars}) with plain files ({plain}); give each a dataset of its own")
    kind = _Tars if any(sharded.values()) else _Files
    members: Members = kind(Listing(root, folders, wanted, within), count)
    if not len(members):
        found = ", ".join(sorted(present)) or "none"
        raise DataError(f"{root} has no files for {', '.join(wanted)}; its folders: {found}")
    return members


def _is_tar(entry: storage.Entry) -> bool:
    return not entry.is_folder and entry.name.endswith(".tar")


def _split(name: str, want: Wanted) -> tuple[str, str] | None:
    """A file's name as key and ending, or None if the ending is not wanted."""
    stem, dot, ending = name.removeprefix("./").rpartition(".")
    suffix = f".{ending.lower()}"
    hidden = stem.rpartition("/")[2].startswith(".")
    return (stem, suffix) if dot and stem and not hidden and suffix in want.suffixes else None


class _Files(Members):
    """Plain files in folders."""

    def __init__(self, listing: Listing, count: int | None) -> None:
        super().__init__(listing)
        self._names = {part: self._list(part, listing.wanted[part], within) for part, within in listing.within.items()}
        self._keys = sorted(set().union(*self._names.values()))[:count]
        self._is_remote = storage.is_remote(self.root)

    def _list(self, part: str, want: Wanted, within: Sequence[storage.Entry]) -> dict[str, str]:
        folder = storage.join(self.root, self.folders[part])
        found: dict[str, str] = {}
        for entry in within:
            inside = storage.entries(storage.join(folder, entry.name)) if entry.is_folder else [entry]
            for each in inside:
                name = f"{entry.name}/{each.name}" if entry.is_folder else each.name
                split = None if each.is_folder else _split(name, want)
                if split is None:
                    self.findings.add(part, "not read", storage.join(folder, name))
                elif split[0] in found:
                    self.findings.add(part, "name used twice", storage.join(folder, name))
                else:
                    found[split[0]] = name
        return found

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        return self._keys[index]

    def holds(self, part: str, index: int) -> bool:
        return self._keys[index] in self._names.get(part, ())

    def place(self, part: str, index: int) -> str:
        name = self._names[part][self._keys[index]]
        return storage.join(storage.join(self.root, self.folders[part]), name)

    def suffix(self, part: str, index: int) -> str:
        return Path(self._names[part][self._keys[index]]).suffix.lower()

    def read(self, part: str, index: int) -> bytes:
        return storage.read(self.place(part, index))

    def describe(self, index: int) -> str:
        return f"{self._keys[index]} of {self.root}"

    @contextmanager
    def path(self, part: str, index: int) -> Iterator[Path]:
        if self._is_remote:
            with super().path(part, index) as path:
                yield path
        else:
            yield Path(self.place(part, index))


@attrs.frozen(eq=False)
class _Column:
    """One part of a shard: offset and size of each sample's member, size -1 for none, and the number of its ending."""

    offsets: np.ndarray
    sizes: np.ndarray
    endings: np.ndarray
    damage: str


@attrs.frozen(eq=False)
class _Rows:
    """The samples of a shard: their keys (n,) bytes, and a column for each part that has the shard."""

    keys: np.ndarray
    columns: dict[str, _Column]


class _Tars(Members):
    """Members of sharded tars."""

    def __init__(self, listing: Listing, count: int | None) -> None:
        super().__init__(listing)
        self._wanted = listing.wanted
        self._is_remote = storage.is_remote(self.root)
        self._ahead: OrderedDict[tuple[str, int], tuple[int, bytes]] = OrderedDict()
        tars: dict[str, set[str]] = {}
        for part, within in listing.within.items():
            tars[part] = {each.name.removesuffix(".tar") for each in within if _is_tar(each)}
            for each in within:
                if not _is_tar(each):
                    place = storage.join(storage.join(self.root, self.folders[part]), each.name)
                    self.findings.add(part, "not read", place)
        names = sorted(set().union(*tars.values()))
        self._rows: list[_Rows] = []
        shards: list[Shard] = []
        start = 0
        for begin in range(0, len(names), SHARDS_AT_ONCE):
            if count is not None and start >= count:
                break
            for name, rows in self._read_tables(names[begin : begin + SHARDS_AT_ONCE], tars):
                stop = start + len(rows.keys) if count is None else min(start + len(rows.keys), count)
                if stop > start:
                    self._rows.append(rows)
                    shards.append(Shard(name, start, stop))
                    start = stop
        self.shards = tuple(shards)
        self._stops = np.array([shard.stop for shard in shards], np.int64)

    def _read_tables(self, names: Sequence[str], tars: Mapping[str, set[str]]) -> Iterator[tuple[str, _Rows]]:
        asked = [(part, name) for name in names for part in self.folders if name in tars[part]]
        found = dict(zip(asked, tables([self._tar(part, name) for part, name in asked]), strict=True))
        for name in names:
            read = {part: found[part, name] for part in self.folders if (part, name) in found}
            members = {part: self._members(part, name, table) for part, table in read.items()}
            keys = list(dict.fromkeys(key for rows in members.values() for key in rows))
            columns = {part: _column(rows, keys, read[part].damage) for part, rows in members.items()}
            yield name, _Rows(np.array([key.encode() for key in keys], "S"), columns)

    def _members(self, part: str, name: str, table: Table) -> dict[str, tuple[int, int, int]]:
        """Offset, size and number of the ending of each member of a tar that is wanted, by key."""
        rows: dict[str, tuple[int, int, int]] = {}
        want, place = self._wanted[part], self._tar(part, name)
        if table.damage:
            self.findings.add(part, "damaged shard", table.damage)
        columns = table.names.tolist(), table.offsets.tolist(), table.sizes.tolist()
        for raw, offset, size in zip(*columns, strict=True):
            member = raw.decode("utf-8", "backslashreplace")
            split = _split(member, want)
            if split is None:
                self.findings.add(part, "not read", f"{place}: {member}")
            elif split[0] in rows:
                self.findings.add(part, "name used twice", f"{place}: {member}")
            else:
                rows[split[0]] = offset, size, want.suffixes.index(split[1])
        return rows

    def _tar(self, part: str, name: str) -> str:
        """The place of the tar of a shard."""
        return storage.join(storage.join(self.root, self.folders[part]), f"{name}.tar")

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    def _find(self, index: int) -> tuple[int, int]:
        """The shard of a sample, and its row there."""
        shard = int(np.searchsorted(self._stops, index, side="right"))
        return shard, index - self.shards[shard].start

    def key(self, index: int) -> str:
        shard, row = self._find(index)
        return self._rows[shard].keys[row].decode()

    def holds(self, part: str, index: int) -> bool:
        shard, row = self._find(index)
        column = self._rows[shard].columns.get(part)
        return column is not None and (column.sizes[row] >= 0 or bool(column.damage))

    def place(self, part: str, index: int) -> str:
        shard, row = self._find(index)
        key = self._rows[shard].keys[row].decode()
        return f"{self._tar(part, self.shards[shard].name)}: {key}{self._ending(part, shard, row)}"

    def _ending(self, part: str, shard: int, row: int) -> str:
        column = self._rows[shard].columns[part]
        return self._wanted[part].suffixes[column.endings[row]] if column.sizes[row] >= 0 else ""

    def suffix(self, part: str, index: int) -> str:
        return self._ending(part, *self._find(index))

    def describe(self, index: int) -> str:
        shard, row = self._find(index)
        return f"{self._rows[shard].keys[row].decode()} in {self.shards[shard].name} of {self.root}"

    def read(self, part: str, index: int) -> bytes:
        shard, row = self._find(index)
        column = self._rows[shard].columns[part]
        if column.sizes[row] < 0:
            raise DataError(column.damage)
        start, size = int(column.offsets[row]), int(column.sizes[row])
        place = self._tar(part, self.shards[shard].name)
        if self._is_remote:
            with suppress(DataError):
                return self._read_ahead(place, (part, shard), column, row)
        return storage.read(place, start, size)

    def _read_ahead(self, place: str, which: tuple[str, int], column: _Column, row: int) -> bytes:
        """The member, read together with those that follow it, unless that was done before."""
        start, size = int(column.offsets[row]), int(column.sizes[row])
        begin, data = self._ahead.get(which, (0, b""))
        if not begin <= start <= start + size <= begin + len(data):
            ends = (column.offsets + column.sizes)[row : row + RUN]
            ends = ends[(column.sizes[row : row + RUN] >= 0) & (ends >= start + size) & (ends <= start + AHEAD)]
            begin, data = start, storage.read(place, start, max(size, int(max(ends, default=0)) - start))
            self._ahead[which] = begin, data
            if len(self._ahead) > KEPT:
                self._ahead.popitem(last=False)
        self._ahead.move_to_end(which)
        return data[start - begin : start - begin + size]

    def order(self, seed: int) -> Callable[[int], int]:
        """As the base says. Runs of neighbors in remote tars stay together, so that one read serves them all."""
        if not self._is_remote:
            return super().order(seed)
        return ShuffledRuns([shard.stop - shard.start for shard in self.shards], RUN, seed)


def _column(rows: Mapping[str, tuple[int, int, int]], keys: Sequence[str], damage: str) -> _Column:
    found = np.array([rows.get(key, (0, -1, 0)) for key in keys], np.int64).reshape(-1, 3)
    return _Column(found[:, 0].copy(), found[:, 1].copy(), found[:, 2].astype(np.uint8), damage)
