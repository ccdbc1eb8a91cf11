"""Files that have no path yet: what is at an address, in an open file, or in memory, for readers that take paths."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from anymodal.errors import DataError, ValueProblem, brief, cause, one_line
from anymodal.files import FROM_A_FILE, is_address

PREFIX = "anymodal-link-"
MOST_BYTES = 256 * 1024**2  # of what is at an address, or in an open file
PIECE = 1024**2
SECONDS = 120  # that a download by http may take
# The first bytes of files of a kind.
MARKS = {b"\x93NUMPY": ".npy", b"PK\3\4": ".npz", b"RIFF": ".wav", b"{": ".json", b"[": ".json"}
BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"  # the mark of byte order, and white space

_FOLDERS: dict[int, Path] = {}
_NUMBERS = count()


def is_file(value: object) -> bool:
    """Whether a value stands for a file: a path or an address, content as bytes, or an open file."""
    if isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)):
        return True
    return callable(getattr(value, "read", None)) and not hasattr(value, "getbands")


@contextmanager
def path_of(value: Any, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The path of what stands for a file; content without one is under a path of its own in the body.

    Addresses are those that fsspec knows, as text: https://, s3://, hf://, memory://.

    Args:
        value: what `is_file` is true of.
        suffixes: the endings that a reader knows; without a name that has one, the first bytes decide.

    Raises:
        ValueProblem: nothing can be read there, or more than 256 MiB; and of the body, with a name instead of the path.
    """
    if isinstance(value, (str, os.PathLike)) and FROM_A_FILE.get():
        raise ValueProblem(f"a file holds values, not what stands for a file, such as {brief(value)}")
    if isinstance(value, os.PathLike) or (isinstance(value, str) and not is_address(value)):
        yield Path(value)
        return
    if isinstance(value, str):
        content, name, place = _downloaded(value), urlsplit(value).path, value.split("?")[0]
    elif isinstance(value, (bytes, bytearray, memoryview)):
        content, name, place = bytes(value), "", f"the content of {len(value)} bytes"
    else:
        content, name = _read(value), str(getattr(value, "name", ""))
        place = name or f"the {type(value).__name__}"
    ending = PurePosixPath(name).suffix.lower()
    with file_in_memory(content, ending if ending in suffixes else likely_ending(content, suffixes)) as path:
        try:
            yield path
        except ValueProblem as error:
            raise ValueProblem(str(error).replace(str(path), place)) from None


def likely_ending(content: bytes, known: tuple[str, ...]) -> str:
    """The ending of a file without a name, by its first bytes; readers of pictures look at the content themselves."""
    start = content[:64].lstrip(BEFORE_JSON)
    likely = next((ending for mark, ending in MARKS.items() if start.startswith(mark)), ".png")
    texts = ".txt" in known  # which begin with anything
    return likely if likely in known and not texts else known[0]


def _read(file: Any) -> bytes:
    """What is left in an open file, which stays where it is, so that it can be read again. Raises ValueProblem."""
    place = _place_in(file)
    try:
        content = file.read(MOST_BYTES + 1)
    except Exception as error:  # of an object that says that it can be read
        raise ValueProblem(f"{brief(file)} cannot be read: {one_line(error, 200)}") from None
    if not isinstance(content, bytes):
        raise ValueProblem(f"{brief(file)} gives {type(content).__name__}, not bytes; open it as open(path, 'rb')")
    if not content and place:
        raise ValueProblem(f"{brief(file)} has nothing left to read; go to its beginning with seek(0)")
    if place is not None:
        with suppress(Exception):  # of a stream that cannot go back
            file.seek(place)
    return _bounded(content, brief(file))


def _place_in(file: Any) -> int | None:
    """How many bytes of an open file were read before; None where it does not say."""
    place = None
    with suppress(Exception):
        place = int(file.tell())
    return place


def _downloaded(address: str) -> bytes:
    """What is at an address. Raises ValueProblem."""
    plain = address.split("?")[0]  # what follows may be a secret
    try:
        from fsspec.core import url_to_fs

        options: dict[str, Any] = {}
        http = address.lower().startswith(("http://", "https://"))
        if http:
            import aiohttp

            options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=SECONDS)}, "skip_instance_cache": True}
        system, path = url_to_fs(address, **options)
        content = bytearray()
        with system.open(path, "rb", **({"block_size": 0} if http else {})) as file:
            while len(content) <= MOST_BYTES and (piece := file.read(PIECE)):
                content += piece
    except FileNotFoundError:
        raise ValueProblem(f"nothing can be read at {plain}; check the address") from None
    except ImportError as error:
        hint = "pip install 'anymodal[data]'" if address.lower().startswith("http") else one_line(error, 200)
        raise ValueProblem(f"{plain} needs a package that is not installed: {hint}") from None
    except Exception as error:  # of whatever library is behind the address
        reason = one_line(error, 200).replace(address, plain) or type(error).__name__
        raise ValueProblem(f"{plain} cannot be read: {reason}; download it and give its path") from None
    return _bounded(bytes(content), plain)


def _bounded(content: bytes, place: str) -> bytes:
    if len(content) > MOST_BYTES:
        raise ValueProblem(f"{place} has more than the limit of {MOST_BYTES // 1024**2} MiB; give a file on a disk")
    return content


@contextmanager
def file_in_memory(data: bytes, suffix: str) -> Iterator[Path]:
    """A path with that ending from which the content is read. Raises DataError where there is no room for it.

    On Linux the file has no name of its own, and the path is a link to it; elsewhere it is a temporary file. Its folder
    is the process's: to make and remove one for each file takes longer than to read most files.
    """
    _remove_leftovers_once()
    with ExitStack() as undone:
        try:
            path = _folder(os.getpid()) / f"{next(_NUMBERS)}-value{suffix}"
            undone.callback(path.unlink, missing_ok=True)
            if hasattr(os, "memfd_create"):
                handle = os.memfd_create("anymodal", os.MFD_CLOEXEC)
                undone.callback(os.close, handle)
                with open(handle, "wb", closefd=False) as file:
                    file.write(data)
                path.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
            else:
                path.write_bytes(data)
        except OSError as error:
            raise DataError(f"no temporary file can be made: {cause(error)}") from None
        yield path


def _folder(process: int) -> Path:
    """The folder of a process for files of a moment, which goes with it; a link tells whether it is still there."""
    from multiprocessing.util import Finalize

    folder = _FOLDERS.get(process)
    if folder is None or not folder.is_dir():
        folder = _FOLDERS[process] = Path(tempfile.mkdtemp(prefix=PREFIX))
        (folder / "process").symlink_to(f"/proc/{process}")
        # Unlike atexit, this is kept in workers too, which skip atexit, and not in what a process is forked into.
        Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=0)
    return folder


@cache
def _remove_leftovers_once() -> None:
    remove_leftovers()


def remove_leftovers() -> None:
    """Remove the folders of links that killed processes of this user left in the temporary folder."""
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):
                links = list(folder.iterdir())
                if all(link.is_symlink() and not link.exists() for link in links) and links:
                    shutil.rmtree(folder)
