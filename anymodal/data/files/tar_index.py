"""Tars as tables of their members: read once from the headers, then every member is a range of bytes.

Nothing is ever extracted by name. Headers are hostile: numbers and sizes of members are bounded, only plain files
count, and a member must lie where the file has bytes. Tables are kept in a cache on disk, by the address and state of
the tar.
"""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np

from anymodal.data.files import storage
from anymodal.errors import DataError, one_line
from anymodal.files import MAX_BYTES, cache_folder, read_arrays, replacing

MAX_MEMBERS = 1_000_000
MAX_HEADER = 1024**2  # bytes of a long name or of extended attributes
MAX_NAME = 1024
MAX_LINKS = 8  # one after the other
BLOCK = 512
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
READERS = 16


@attrs.frozen(eq=False)
class Table:
    """The files of a tar in their order: names (n,) bytes, offsets (n,) and sizes (n,) in bytes.

    Links have the place of what they lead to; `passed_over` (m,) are the names of those that lead to nothing in the
    tar, and of what is no plain file. `damage` says why what follows the last file cannot be read, if so.
    """

    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    passed_over: np.ndarray = attrs.field(factory=lambda: np.empty(0, "S1"))
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
        names, passed_over = (found[each].view(f"S{found[f'{each}_width']}") for each in ("names", "passed_over"))
        return Table(names, found["offsets"], found["sizes"], passed_over)
    with storage.opened(place) as file:
        table = _scan(file, size, place)
    if not table.damage:
        with suppress(DataError):
            _keep(table, kept)
    return table


def _keep(table: Table, path: Path) -> None:
    texts = {"names": table.names, "passed_over": table.passed_over}
    with replacing(path) as temporary, temporary.open("wb") as file:
        widths = {f"{name}_width": np.array(array.dtype.itemsize) for name, array in texts.items()}
        raw = {name: array.view(np.uint8) for name, array in texts.items()}
        arrays: dict[str, Any] = {**raw, **widths, "offsets": table.offsets, "sizes": table.sizes}
        np.savez(file, **arrays)


class _Headers:
    """The file as tarfile sees it: no read is longer than a header may be."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self.file.read(count)


@attrs.frozen
class _Member:
    """What a header says: where the content lies, or the name of the member that it links to."""

    name: bytes
    start: int
    size: int
    link: str = ""


def _scan(file: IO[bytes], size: int, place: str) -> Table:
    """The table of an open tar of `size` bytes."""
    members: list[_Member] = []
    damage = ""
    try:
        _headers(file, size, members.append)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        reason = "" if members else _packed(file)
        reason = reason or one_line(error, 120)
        damage = f"{place} is damaged or cut short after {len(members)} members: {reason}"
    return _table(members, damage)


def _headers(file: IO[bytes], size: int, add: Callable[[_Member], None]) -> None:
    """Call `add` with the members of an open tar of `size` bytes. Raises what tarfile raises where it is damaged."""
    archive, before, count = tarfile.TarFile(fileobj=_Headers(file), errorlevel=2), -1, 0  # type: ignore[arg-type]
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
        if archive.offset <= before or member.size < 0:
            raise tarfile.ReadError("its members overlap")
        before = archive.offset
        if member.isdir():
            continue
        name = member.name.encode("utf-8", "surrogateescape")
        if member.size > MAX_BYTES or max(len(name), len(member.linkname)) > MAX_NAME:
            raise tarfile.ReadError(f"a member has {member.size} bytes and a name of {len(name)}")
        if count == MAX_MEMBERS:
            raise tarfile.ReadError("there are more members than that")
        count += 1
        if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
            add(_Member(name, member.offset_data, member.size))
            if member.offset_data + member.size > size:
                raise tarfile.ReadError("it ends within the last of them")
        else:
            add(_Member(name, -1, 0, _target(member)))
    file.seek(archive.offset)
    if (last := file.read(BLOCK)).strip(b"\0") or len(last) < BLOCK:
        raise tarfile.ReadError("what follows is neither a member nor the end mark")


def _target(member: tarfile.TarInfo) -> str:
    """The name that a link leads to; an empty string for what is neither a link nor a plain file."""
    if member.issym():  # from the folder of the link
        return posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
    return posixpath.normpath(member.linkname) if member.islnk() else ""


def _table(members: Sequence[_Member], damage: str) -> Table:
    """The members as a table; links take the content of the member that they lead to."""
    named = members if any(each.link for each in members) else ()
    by_name = {posixpath.normpath(each.name.decode("utf-8", "surrogateescape")): each for each in named}
    plain, lost = [], []
    for member in members:
        found: _Member | None = member
        for _ in range(MAX_LINKS):
            if found is None or found.start >= 0:
                break
            found = by_name.get(found.link) if found.link else None
        if found is None or found.start < 0:
            lost.append(member.name)
        else:
            plain.append((member.name, found.start, found.size))
    spans = np.array([span[1:] for span in plain], np.int64).reshape(-1, 2)
    offsets, sizes = spans.T.copy()
    return Table(np.array([each[0] for each in plain], "S"), offsets, sizes, np.array(lost, "S"), damage)


def _packed(file: IO[bytes]) -> str:
    """What to do about a file that is compressed, by its first bytes; an empty string for another one."""
    file.seek(0)
    start = file.read(8)
    kind = next((name for mark, name in PACKED.items() if start.startswith(mark)), "")
    return f"it is compressed by {kind}; tars are read in place, so unpack it to a plain .tar first" if kind else ""
