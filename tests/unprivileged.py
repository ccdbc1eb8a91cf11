"""Files that may not be read or written, also where the tests run as root, who may read and write everything."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

READ_AND_WRITE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7)
VERSION_3 = 0x20080522


@contextmanager
def unprivileged() -> Iterator[None]:
    """Leave the thread without the capabilities of root over files for as long as the block runs."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = struct.pack("Ii", VERSION_3, 0), ctypes.create_string_buffer(24)
    if libc.capget(header, data):
        pytest.skip("this system has no capabilities to give up")
    before = data.raw
    effective, *rest = struct.unpack("6I", before)
    assert not libc.capset(header, struct.pack("6I", effective & ~READ_AND_WRITE, *rest))
    try:
        yield
    finally:
        libc.capset(header, before)
