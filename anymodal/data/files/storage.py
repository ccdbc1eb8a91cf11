"""Files wherever they lie: local paths, and addresses that fsspec knows (memory://, s3://, hf://, https://, ...).

Local files are read without fsspec. Reads of remote files are tried three times. Chains such as ``simplecache::s3://...``
work for whole files.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs

from anymodal.errors import AnymodalError, DataError, cause, one_line

TRIES = 3
HEADER_BLOCK = 128 * 1024  # bytes fetched at once while only headers of a remote file are wanted


@attrs.frozen
class Entry:
    """What a folder holds: a name, and whether it is a folder itself."""

    name: str
    is_folder: bool


def is_remote(place: str) -> bool:
    """Whether the place is an address and not a local path."""
    return "://" in place or "::" in place


def join(place: str, name: str) -> str:
    """The place `name` in a folder."""
    return f"{place.rstrip('/')}/{name}"


def entries(place: str) -> list[Entry]:
    """What a folder holds, by name; hidden files are left out. Raises DataError if there is no such folder."""
    if is_remote(place):
        with _clear_errors(place):
            system, path = _system(place)
            found = [(info["name"], info["type"] == "directory") for info in system.ls(path, detail=True)]
        named = [Entry(name.rstrip("/").rpartition("/")[2], is_folder) for name, is_folder in found]
    else:
        with _clear_errors(place, "folder"), os.scandir(place) as scan:
            named = [Entry(each.name, each.is_dir()) for each in scan]
    return sorted((each for each in named if each.name and not each.name.startswith(".")), key=lambda each: each.name)


def stamp(place: str) -> tuple[int, str]:
    """The size of a file in bytes, and what changes when the file does. Raises DataError.

    The time of modification alone can be set (cp -p, archives); inode and time of change cannot.
    """
    with _clear_errors(place):
        if not is_remote(place):
            status = _file(place)
            numbers = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
            return status.st_size, " ".join(map(str, numbers))
        system, path = _system(place)
        info = dict(system.info(path))
        if info.get("size") is None:
            raise DataError(f"{place} does not tell its size, which is needed to read it in parts; copy it first")
        return int(info["size"]), str(sorted((key, str(value)) for key, value in info.items()))


@contextmanager
def opened(place: str) -> Iterator[IO[bytes]]:
    """A file to be read here and there; what fails while it is open is a DataError."""
    with _clear_errors(place):
        if not is_remote(place):
            with Path(place).open("rb") as file:
                yield file
            return
        system, path = _system(place)
        with system.open(path, "rb", block_size=HEADER_BLOCK, cache_type="readahead") as file:
            yield file


def read(place: str, start: int = 0, length: int | None = None) -> bytes:
    """Bytes of a file, `length` of them from `start`, or all. Raises DataError, also for fewer than asked for."""
    with _clear_errors(place):
        data = _read_remote(place, start, length) if is_remote(place) else _read_local(place, start, length)
    if length is not None and len(data) > length:
        raise DataError(f"{place} is only given as a whole, not in parts, by its server; copy it first")
    if length is not None and len(data) != length:
        raise DataError(f"{place} is cut short: it ends {length - len(data)} bytes too early")
    return data


def _file(place: str) -> os.stat_result:
    """What the system says of a local file. Raises DataError for a pipe or a device, of which a read may never end."""
    status = Path(place).stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise DataError(f"{place} is a pipe or a device, a file is needed")
    return status


def _read_local(place: str, start: int, length: int | None) -> bytes:
    if length is None:
        _file(place)
        return Path(place).read_bytes()
    handle = os.open(place, os.O_RDONLY)
    try:
        return os.pread(handle, length, start)
    finally:
        os.close(handle)


def _read_remote(place: str, start: int, length: int | None) -> bytes:
    end = None if length is None else start + length
    for attempt in range(TRIES):
        try:
            system, path = _system(place)
            data: bytes = system.cat_file(path, start=start, end=end)
            return data
        except FileNotFoundError:
            raise
        except Exception:  # of whatever library is behind the address
            if attempt == TRIES - 1:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def _system(place: str) -> tuple[Any, str]:
    """The file system of an address and the path in it; fsspec keeps one of each kind for a process."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(place)
    return system, path


@contextmanager
def _clear_errors(place: str, kind: str = "file or folder") -> Iterator[None]:
    try:
        yield
    except AnymodalError:
        raise
    except FileNotFoundError:
        raise DataError(f"no such {kind}: {place}") from None
    except NotADirectoryError:
        if Path(place).is_file():
            raise DataError(
                f"{place} is a file and no tar; rows of tables are for `anymodal train` and `data check`"
            ) from None
        raise DataError(f"no such folder: {place}") from None
    except OSError as error:
        raise DataError(f"{place} cannot be read: {cause(error)}") from None
    except ImportError as error:
        hint = "; for http: pip install 'anymodal[data]'" if "http" in place else ""
        raise DataError(f"{place} needs a package that is not installed: {one_line(error)}{hint}") from None
    except Exception as error:  # of whatever library is behind the address
        reason = one_line(error, 200) or "no reason given"
        raise DataError(f"{place} cannot be read: {type(error).__name__}: {reason}") from None
