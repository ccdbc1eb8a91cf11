"""Tars as tables of their members: read once from the headers, then every member is a range of bytes.

Nothing is ever extracted by name. Headers are hostile: numbers and sizes of members are bounded, only plain files
count, and a member must lie where the file has bytes. Tables are kept in a cache on disk, by the address and state of
the tar.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

import attrs
import numpy as np

from anymodal.data.files import storage
from anymodal.errors import DataError, one_line
from anymodal.files import MAX_BYTES, cache_folder, read_arrays, replacing

MAX_MEMBERS = 1_000_000
MAX_HEADER = 1024**2  # bytes of a long name or of extended attributes
MAX_NAME = 1024
BLOCK = 512
READERS = 16


@attrs.frozen(eq=False)
class Table:
    """The plain files of a tar in their order: names (n,) bytes, offsets (n,) and sizes (n,) in bytes.

    `damage` says why what follows the last of them cannot be read, if so.
    """

    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    damage: str = ""


def tables(places: Sequence[str]) -> list[Table]:
    """The tables of tars; remote ones are read several at a time. Raises DataError for what cannot be reached."""
    if len(places) > 1 and storage.is_remote(places[0]):
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(table, places))
    return [table(place) for place in places]


def table(place: str) -> Table:
    """The table of a tar, from the cache if the tar is as it was. Raises DataError if it cannot be reached."""
    size, state = storage.stamp(place)
    key = hashlib.sha256(
        f"{place if storage.is_remote(place) else Path(place).resolve()}\n{state}".encode()
    ).hexdigest()
    kept = cache_folder() / "tars" / f"{key}.npz"
    with suppress(ValueError, KeyError):
        found = read_arrays(kept)
        return Table(found["names"].view(f"S{found['width']}"), found["offsets"], found["sizes"])
    with storage.opened(place) as file:
        table = _scan(file, size, place)
    if not table.damage:
        with suppress(DataError):
            _keep(table, kept)
    return table


def _keep(table: Table, path: Path) -> None:
    width = table.names.dtype.itemsize
    with replacing(path) as temporary, temporary.open("wb") as file:
        names = table.names.view(np.uint8)
        np.savez(file, names=names, width=np.array(width), offsets=table.offsets, sizes=table.sizes)


class _Headers:
    """The file as tarfile sees it: no read is longer than a header may be."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self.file.read(count)


def _scan(file: IO[bytes], size: int, place: str) -> Table:
    """The table of an open tar of `size` bytes."""
    names: list[bytes] = []
    spans: list[tuple[int, int]] = []
    damage = ""
    try:
        archive, before = tarfile.TarFile(fileobj=_Headers(file), errorlevel=2), -1  # type: ignore[arg-type]
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            if archive.offset <= before or member.size < 0:
                raise tarfile.ReadError("its members overlap")
            before = archive.offset
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                continue
            name = member.name.encode("utf-8", "surrogateescape")
            if member.size > MAX_BYTES or len(name) > MAX_NAME:
                raise tarfile.ReadError(f"a member has {member.size} bytes and a name of {len(name)}")
            if len(names) == MAX_MEMBERS:
                raise tarfile.ReadError("there are more members than that")
            names.append(name)
            spans.append((member.offset_data, member.size))
            if member.offset_data + member.size > size:
                raise tarfile.ReadError("it ends within the last of them")
        file.seek(archive.offset)
        if (last := file.read(BLOCK)).strip(b"\0") or len(last) < BLOCK:
            raise tarfile.ReadError("what follows is neither a member nor the end mark")
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        damage = f"{place} is damaged or cut short after {len(names)} members: {one_line(error, 120)}"
    offsets, sizes = np.array(spans, np.int64).reshape(-1, 2).T.copy()
    return Table(np.array(names, "S"), offsets, sizes, damage)
