"""Safe file access: files from outside are hostile, files we write are whole.

Reading is bounded in size and never unpickles; writing goes to a temporary name beside the target and is renamed.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from anymodal.durable import PREFIX, READABLE, is_scratch, make_folder, put, sync, temporary_file
from anymodal.errors import CheckpointError, DataError, ValueProblem, cause, one_line, system_errors

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

MAX_BYTES = 1024**3
MAX_UNPACKED = 256 * 1024**2
MAX_ARRAY_HEADER = 10_000  # as numpy
NPY_MARK = b"\x93NUMPY"
MAX_TEXT_BYTES = 16 * 1024**2
MAX_DEPTH = 64  # of JSON
VIEW = ".view.png"  # the ending of pictures of values for people, which are no data
SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
FROM_A_FILE: ContextVar[bool] = ContextVar("anymodal_from_a_file", default=False)  # in `without_other_files`


def cache_folder() -> Path:
    """Where downloads and tables are kept: $ANYMODAL_CACHE, or `anymodal` in the user's folder of caches."""
    if stated := os.environ.get("ANYMODAL_CACHE"):
        return Path(stated)
    import platformdirs

    return Path(platformdirs.user_cache_dir("anymodal", appauthor=False))


def is_address(value: str | os.PathLike[str]) -> bool:
    """Whether it is an address, such as https://host/name; one that was made a path has lost its second slash."""
    found = SCHEME.match(os.fspath(value))
    return found is not None and (not isinstance(value, str) or value.startswith("/", found.end()))


@contextmanager
def without_other_files() -> Iterator[None]:
    """Values in the body come from a file, so none of them may stand for another file or an address."""
    token = FROM_A_FILE.set(True)
    try:
        yield
    finally:
        FROM_A_FILE.reset(token)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make a ValueProblem in the body name the file that the value comes from, where it does not yet.

    As that value comes from a file, no part of it may stand for another one.
    """
    try:
        with without_other_files():
            yield
    except ValueProblem as error:
        if str(path) in str(error):
            raise
        raise ValueProblem(f"{path}: {error}") from error.__cause__


def plain_file(path: Path, limit: int) -> Path:
    """The path itself. Raises ValueProblem unless it is a plain file of at most `limit` bytes; pipes may never end."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        hint = "; give an address as text, not as a Path" if is_address(path) else ""
        raise ValueProblem(f"no such file: {path}{hint}") from None
    except (OSError, ValueError) as error:
        raise ValueProblem(f"{path!s:.200} cannot be read: {cause(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ValueProblem(f"{path} is {kind}, a file is needed")
    if status.st_size > limit:
        raise ValueProblem(f"{path} has {status.st_size} bytes, more than the limit of {limit}")
    return path


def is_npy(path: Path) -> bool:
    """Whether the name of a file says that it is a .npy array."""
    return path.suffix.lower() == ".npy"


def read_array(path: Path) -> np.ndarray:
    """A numeric .npy array. Raises ValueProblem; pickled objects are refused."""
    size = plain_file(path, MAX_BYTES).stat().st_size
    try:
        with path.open("rb") as file:
            return _array(file, size, str(path))
    except OSError as error:
        raise ValueProblem(f"{path} cannot be read: {cause(error)}") from None


def read_array_and_note(path: Path, keyword: str, most: int) -> tuple[np.ndarray, bytes | None]:
    """The array of a .npy file, and the note that `write_array` put behind it where it begins with the keyword.

    Raises ValueProblem as `read_array`, and for a note that is damaged or has more than `most` bytes.
    """
    array = read_array(path)
    try:
        with path.open("rb") as file:
            file.seek(_header_end(file.read(12)) + array.nbytes)
            behind = file.read(most + MAX_ARRAY_HEADER)
    except OSError as error:
        raise ValueProblem(f"{path} cannot be read: {cause(error)}") from None
    mark = f"{keyword} ".encode("ascii")
    if not behind.startswith(NPY_MARK) or mark not in behind[: MAX_ARRAY_HEADER + len(mark)]:
        return array, None
    note = parse_array(behind, f"what {path} says of itself").tobytes()
    return array, note.removeprefix(mark) if note.startswith(mark) else None


def parse_array(data: bytes, place: str) -> np.ndarray:
    """The numeric array (read-only) in the content of an .npy file. Raises ValueProblem, which names the place."""
    try:
        end = _header_end(data[:12])
        dtype, shape, order, needed = _array_header(data[:end])
        _check_length(needed, len(data) - end, shape)
        return np.ndarray(shape, dtype, data, end, order=order)
    except Exception as error:  # the reader of headers raises whatever damage leads it to
        raise _no_array(place, error) from None


def _array(file: IO[bytes], size: int, place: str) -> np.ndarray:
    """The array at the beginning of `size` bytes, which is not read where they are too few. Raises ValueProblem."""
    try:
        start = file.read(12)
        end = _header_end(start)
        dtype, shape, order, needed = _array_header(start[:end] + file.read(max(0, end - len(start))))
        _check_length(needed, size - end, shape)
        content = bytearray(needed)  # unlike bytes, an array may write to it
        _check_length(needed, file.readinto(content), shape)  # type: ignore[attr-defined]
        return np.ndarray(shape, dtype, content, order=order)
    except Exception as error:
        raise _no_array(place, error) from None


def _header_end(start: bytes) -> int:
    """Where the header ends, from the first 12 bytes; version 2 has four bytes for its length."""
    first, last = (8, 12) if start[6:7] == b"\2" else (8, 10)
    end = last + int.from_bytes(start[first:last], "little")
    if end > MAX_ARRAY_HEADER:
        raise ValueError(f"a header of {end} bytes")
    return end


@lru_cache(256)
def _array_header(header: bytes) -> tuple[np.dtype, tuple[int, ...], Literal["C", "F"], int]:
    """Type, shape, order and bytes of an array; the files of a dataset share a few headers. Raises any error."""
    file = io.BytesIO(header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"an unknown version {version[0]}.{version[1]} of the format")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    if dtype.kind not in "buif":
        raise ValueError(f"it holds {dtype}")
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    return dtype, shape, "F" if fortran else "C", math.prod(shape) * dtype.itemsize


def _check_length(needed: int, there: int, shape: tuple[int, ...]) -> None:
    if needed > there:
        raise ValueError(f"cut short: {there} bytes, and {needed} are needed for the shape {shape}")


def _no_array(place: str, error: Exception) -> ValueProblem:
    return ValueProblem(f"{place} is not a numeric .npy array: {said(error)}")


def said(error: Exception) -> str:
    """What an error says, on one line, or else its type."""
    return one_line(error, 120) or type(error).__name__


def read_arrays(path: Path, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The numeric arrays of an .npz file by name, or those of some names that it has.

    Raises ValueProblem; pickled objects and zip bombs are refused where they would be read.
    """
    import zipfile

    try:
        with zipfile.ZipFile(plain_file(path, MAX_BYTES)) as archive:
            named = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            entries = {name: entry for name, entry in named.items() if only is None or name in only}
            if (size := sum(entry.file_size for entry in entries.values())) > MAX_UNPACKED:
                raise ValueProblem(f"{path} unpacks to {size} bytes, more than the limit of {MAX_UNPACKED}")
            arrays = {}
            for name, entry in entries.items():
                with archive.open(entry) as file:
                    arrays[name] = _array(file, entry.file_size, f"{path}: {name}")
            return arrays
    except ValueProblem:
        raise
    except Exception as error:  # as above, and of the archive
        raise ValueProblem(f"{path} is not an .npz file of numeric arrays: {said(error)}") from None


def write_array(array: np.ndarray, path: Path, note: bytes = b"") -> None:
    """Write an .npy file, whole or not at all; a note follows as a second array, which readers of one pass over."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        if note:
            np.save(file, np.frombuffer(note, np.uint8), allow_pickle=False)


def read_text(path: Path) -> str:
    """UTF-8 text, without a mark of byte order. Raises ValueProblem."""
    try:
        return plain_file(path, MAX_TEXT_BYTES).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueProblem(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueProblem(f"{path} cannot be read: {cause(error)}") from None


def read_json(path: Path) -> Any:
    """Parsed JSON. Raises ValueProblem with the line of the first mistake."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, place: str) -> Any:
    """The value of a JSON text. Raises ValueProblem, which names the place and the line of the first mistake."""
    try:
        return _shallow(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueProblem(f"{place} is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueProblem(f"{place} is nested too deeply") from None
    except ValueError:
        raise ValueProblem(f"{place} holds a number with more digits than any number needs") from None


def _shallow(value: Any) -> Any:
    """The value itself. Raises RecursionError where it is so deep that whoever walks through it might."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise RecursionError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint. Raises CheckpointError."""
    try:
        raw = read_json(path)
    except ValueProblem as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} must hold one JSON object")
    return raw


def written_as(path: str | os.PathLike[str], what: str, ending: str, known: Collection[str]) -> Path:
    """The path of a file that is written in the format of an ending, whatever its own.

    Raises ValueProblem, which says `what` is written as, for another ending among the `known` ones: files of that would
    be read in a format that they do not have.
    """
    suffix = (path := Path(path)).suffix.lower()
    if suffix != ending and suffix in known:
        raise ValueProblem(f"{path}: {what}; give a name that ends in {ending}")
    return path


def check_folder(out: Path) -> None:
    """Raise DataError for a folder that cannot be written, before the work rather than after it."""
    with system_errors(DataError, f"cannot write into {out}"):
        existing = next(p for p in [out, *out.absolute().parents] if p.exists())
        if not existing.is_dir():
            raise DataError(f"cannot write into {out}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise DataError(f"cannot write into {out}: no permission to write in {existing}")


def check_file(path: Path) -> None:
    """As `check_folder`, for a file that is written at the end: raise DataError where a folder has its name, too."""
    check_folder(path.parent)
    with system_errors(DataError, f"cannot write {path}"):
        if path.is_dir():
            raise DataError(f"cannot write {path}: a folder has that name; move it away, or write elsewhere")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes the place of `path` when the block ends without an error.

    The content is on disk before it has its name, so that a power cut leaves the old file or the new one
    (`anymodal.durable.write_all` is for many files). Raises DataError if the folder cannot be written.
    """
    try:
        make_folder(path.parent)
        temporary = temporary_file(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from None
    try:
        yield temporary
        temporary.chmod(READABLE)
        if is_scratch(path):
            temporary.replace(path)
        else:
            sync(temporary)
            put(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_partial(folder: Path) -> None:
    """Remove files that killed processes left half-written in a folder to which nobody else writes. Raises OSError."""
    for path in folder.glob(f"{PREFIX}*"):
        if not path.is_dir():
            path.unlink(missing_ok=True)


LOCK = ".lock"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, and remove files there that killed ones left half-written.

    Folders that are new and in which nothing was made are removed again. File systems that know no locks have none.
    Raises DataError if another run is at work there.
    """
    from filelock import FileLock, Timeout

    try:
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        lock = FileLock(folder / LOCK)
        make_folder(folder)
        with suppress(NotImplementedError):
            lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"another run is writing to {folder}; wait for it, or choose another folder") from None
    except (OSError, ValueError) as error:  # ValueError of a name with a zero byte
        raise DataError(f"cannot write to {folder}: {cause(error)}; choose another folder") from None
    try:
        with suppress(OSError):
            remove_partial(folder)
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: who waits for it finds out that it is gone
            if new and not any(folder.iterdir()):
                for path in new:
                    path.rmdir()
        lock.release()


def write_json(value: Any, path: Path) -> None:
    """Write indented JSON with a final newline, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
