"""Sharded tars, one modality a tar: root/PART/shard-00000.tar with members [CLASS/]NAME.ext.

Every part has the same shards; what belongs together lies in the shard of the same name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import attrs
import numpy as np

from anymodal.data.files import storage
from anymodal.data.files.index import FileIndex, Shard, key_and_suffix
from anymodal.data.files.layout import FileLayout, Place, is_tar
from anymodal.data.files.names import decoded, refusal
from anymodal.data.files.tar_index import Table, tables
from anymodal.data.order import ShuffledRuns
from anymodal.errors import DataError
from anymodal.files import VIEW

RUN = 16  # neighbors in a remote tar that are read together
AHEAD = 8 * 1024**2  # bytes that may be read for them at once
KEPT = 64  # such reads that a process keeps
SHARDS_AT_ONCE = 16
FIELDS = ("offsets", "sizes")

Tars = Mapping[str, tuple[str, ...]]  # the tars of a shard, and the parts that each may hold
Member = tuple[int, int, int]  # offset, size and number of the ending


@attrs.frozen
class AlignedTars(FileLayout):
    """A folder of sharded tars for each part, the same shards for all."""

    name: str = attrs.field(init=False, default="tars")
    description: ClassVar[str] = "a folder for each modality, the same sharded tars in all: rgb/shard-00000.tar"

    def recognizes(self, place: Place) -> bool:
        return any(_sharded(place).values())

    def names(self, place: Place) -> set[str]:
        return {each.name for each in place.entries if each.is_folder}

    def open(self, place: Place, count: int | None) -> FileIndex:
        sharded = _sharded(place)
        folders = place.chosen(self.names(place))
        if not all(sharded.values()):
            tars, plain = (", ".join(folders[p] for p, s in sharded.items() if s is kind) for kind in (True, False))
            mixed = f"{place.path} mixes tars ({tars}) with plain files ({plain})"
            raise DataError(f"{mixed}; give each a dataset of its own")
        shards: dict[str, dict[str, tuple[str, ...]]] = {}
        others: list[tuple[str, str]] = []
        for part, folder in folders.items():
            for each in place.within(folder):
                where = storage.join(storage.join(place.path, folder), each.name)
                if is_tar(each):
                    tars_of = shards.setdefault(each.name.removesuffix(".tar"), {})
                    tars_of[where] = (*tars_of.get(where, ()), part)
                else:
                    others.append((part, where))
        index = TarIndex(place, folders, dict(sorted(shards.items())), count)
        for part, where in others:
            index.problems.add(part, "not read", where)
        return index


def _sharded(place: Place) -> dict[str, bool]:
    """Whether the folder of a part holds tars."""
    folders = place.chosen({each.name for each in place.entries if each.is_folder}) if place.wanted else {}
    return {part: any(is_tar(each) for each in place.within(folder)) for part, folder in folders.items()}


@attrs.frozen(eq=False)
class _Column:
    """One part of a shard: its tar, offset and size of each sample's member (size -1: none), number of its ending."""

    tar: str
    offsets: np.ndarray
    sizes: np.ndarray
    endings: np.ndarray
    damage: str


@attrs.frozen(eq=False)
class _Rows:
    """The samples of a shard: their keys (n,) bytes, and a column for each part that has the shard."""

    keys: np.ndarray
    columns: dict[str, _Column]


class TarIndex(FileIndex):
    """Members of sharded tars. `shards` maps their names, in order, to the tars of each with the parts they hold."""

    def __init__(
        self, place: Place, folders: dict[str, str], shards: Mapping[str, Tars], count: int | None = None
    ) -> None:
        super().__init__(place.path, folders)
        self._wanted = place.wanted
        self._is_remote = storage.is_remote(self.root)
        self._ahead: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._rows: list[_Rows] = []
        self._stamps: dict[str, str] = {}
        names, found, start = list(shards), [], 0
        for begin in range(0, len(names), SHARDS_AT_ONCE):
            if count is not None and start >= count:
                break
            for name, rows in self._read_tables({n: shards[n] for n in names[begin : begin + SHARDS_AT_ONCE]}):
                stop = start + len(rows.keys) if count is None else min(start + len(rows.keys), count)
                if stop > start:
                    self._rows.append(rows)
                    found.append(Shard(name, start, stop))
                    start = stop
        self.shards = tuple(found)
        self._stops = np.array([shard.stop for shard in found], np.int64)

    def split(self, member: str, parts: Sequence[str]) -> tuple[Sequence[str], str, str]:
        """The parts of a tar that a member is of, the name of its sample, and its ending."""
        return parts, *key_and_suffix(member)

    def rest_is_known(self) -> bool:
        """Whether a sample that a damaged tar does not show may yet be known, from the tars of other parts."""
        return True

    def _read_tables(self, shards: Mapping[str, Tars]) -> Iterator[tuple[str, _Rows]]:
        places = [tar for tars in shards.values() for tar in tars]
        read = dict(zip(places, tables(places), strict=True))
        for name, tars in shards.items():
            members: dict[str, dict[str, Member]] = {}
            for tar, parts in tars.items():
                members |= self._members(tar, parts, read[tar])
            keys = list(dict.fromkeys(key for rows in members.values() for key in rows))
            if len(tars) == 1:  # in the order of the tar, also where samples lack parts
                keys.sort(key=lambda key: min(rows[key] for rows in members.values() if key in rows))
            tar_of = {part: tar for tar, parts in tars.items() for part in parts}
            damage = {part: read[tar].damage if self.rest_is_known() else "" for part, tar in tar_of.items()}
            columns = {part: _column(tar_of[part], rows, keys, damage[part]) for part, rows in members.items()}
            yield name, _Rows(np.array([key.encode() for key in keys], "S"), columns)

    def _members(self, tar: str, parts: Sequence[str], table: Table) -> dict[str, dict[str, Member]]:
        """The members of a tar that are wanted, by part and name of the sample."""
        found: dict[str, dict[str, Member]] = {part: {} for part in parts}
        for part in parts if table.damage else ():
            self.problems.add(part, "damaged shard", table.damage)
        for raw in table.passed_over.tolist():
            member = decoded(raw)
            for part in self.split(member, parts)[0]:
                self.problems.add(part, "not read", f"{tar}: {member}, a link to nothing or no plain file")
        columns = table.names.tolist(), table.offsets.tolist(), table.sizes.tolist()
        for raw, offset, size in zip(*columns, strict=True):
            member = decoded(raw)
            of, key, suffix = self.split(member, parts)
            if refused := refusal(tar, member):
                for part in of or parts:
                    self.problems.add(part, "unsafe name", refused)
                continue
            for part in of if not member.endswith(VIEW) else ():
                suffixes = self._wanted[part].suffixes
                if suffix not in suffixes:
                    self.problems.add(part, "not read", f"{tar}: {member}")
                elif key in found[part]:
                    self.problems.add(part, "name used twice", f"{tar}: {member}")
                else:
                    found[part][key] = offset, size, suffixes.index(suffix)
        return found

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
        key, column = self._rows[shard].keys[row].decode(), self._rows[shard].columns[part]
        return f"{column.tar}: {self.member(part, key, self._ending(part, shard, row))}"

    def member(self, part: str, key: str, ending: str) -> str:
        """The name of a member, for people."""
        return f"{key}{ending}"

    def _ending(self, part: str, shard: int, row: int) -> str:
        column = self._rows[shard].columns[part]
        return self._wanted[part].suffixes[column.endings[row]] if column.sizes[row] >= 0 else ""

    def suffix(self, part: str, index: int) -> str:
        return self._ending(part, *self._find(index))

    def stamp(self, part: str, index: int) -> str:
        shard, row = self._find(index)
        column = self._rows[shard].columns[part]
        if column.tar not in self._stamps:
            self._stamps[column.tar] = storage.stamp(column.tar)[1]
        return f"{self._stamps[column.tar]} {column.offsets[row]}"

    def describe(self, index: int) -> str:
        shard, row = self._find(index)
        return f"{self._rows[shard].keys[row].decode()} in {self.shards[shard].name} of {self.root}"

    def read(self, part: str, index: int) -> bytes:
        shard, row = self._find(index)
        column = self._rows[shard].columns[part]
        if column.sizes[row] < 0:
            raise DataError(column.damage)
        if self._is_remote:
            with suppress(DataError):
                return self._read_ahead(self._rows[shard], column, row)
        return storage.read(column.tar, int(column.offsets[row]), int(column.sizes[row]))

    def _read_ahead(self, rows: _Rows, column: _Column, row: int) -> bytes:
        """The member, read together with those of its sample and of those that follow, unless that was done before."""
        start, size = int(column.offsets[row]), int(column.sizes[row])
        begin, data = self._ahead.get(column.tar, (0, b""))
        if not begin <= start <= start + size <= begin + len(data):
            same = [each for each in rows.columns.values() if each.tar == column.tar]
            offsets, sizes = (np.stack([getattr(c, field)[row : row + RUN] for c in same]) for field in FIELDS)
            begin = max(int(offsets[:, 0][sizes[:, 0] >= 0].min()), min(start, start + size - AHEAD))
            ends = (offsets + sizes)[sizes >= 0]
            end = max(start + size, int(ends[ends <= begin + AHEAD].max(initial=0)))
            data = storage.read(column.tar, begin, end - begin)
            self._ahead[column.tar] = begin, data
            if len(self._ahead) > KEPT:
                self._ahead.popitem(last=False)
        self._ahead.move_to_end(column.tar)
        return data[start - begin : start - begin + size]

    def order(self, seed: int) -> Callable[[int], int]:
        """As the base says. Runs of neighbors in remote tars stay together, so that one read serves them all."""
        if not self._is_remote:
            return super().order(seed)
        return ShuffledRuns([shard.stop - shard.start for shard in self.shards], RUN, seed)


def _column(tar: str, rows: Mapping[str, Member], keys: Sequence[str], damage: str) -> _Column:
    found = np.array([rows.get(key, (0, -1, 0)) for key in keys], np.int64).reshape(-1, 3)
    return _Column(tar, found[:, 0].copy(), found[:, 1].copy(), found[:, 2].astype(np.uint8), damage)
