"""Content under the path of a file, for readers that take paths: in memory, and gone when the process is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from anymodal.errors import DataError, cause

PREFIX = "anymodal-link-"


@contextmanager
def file_in_memory(data: bytes, suffix: str) -> Iterator[Path]:
    """A path with that ending from which the content is read. Raises DataError where there is no room for it.

    On Linux the file has no name of its own, and the path is a link to it; elsewhere it is a temporary file.
    """
    remove_leftovers()
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            path = Path(folder, f"value{suffix}")
            if hasattr(os, "memfd_create"):
                handle = os.memfd_create("anymodal", os.MFD_CLOEXEC)
                try:
                    with open(handle, "wb", closefd=False) as file:
                        file.write(data)
                    path.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
                    yield path
                finally:
                    os.close(handle)
            else:
                path.write_bytes(data)
                yield path
    except OSError as error:
        raise DataError(f"no temporary file can be made: {cause(error)}") from None


@cache
def remove_leftovers() -> None:
    """Remove the folders of links that killed processes of this user left in the temporary folder; once a process."""
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):
                links = list(folder.iterdir())
                if all(link.is_symlink() and not link.exists() for link in links) and links:
                    shutil.rmtree(folder)
