"""Arrays in the .npy format from bytes, without a file and without pickle."""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np

from anymodal.errors import ValueProblem, one_line

LONGEST_HEADER = 4096


def stored_array(data: bytes, place: str) -> np.ndarray:
    """The numeric array (read-only) in the content of an .npy file. Raises ValueProblem, which names the place."""
    try:
        start = 10 + int.from_bytes(data[8:10], "little")
        dtype, shape, fortran = _header(data[: min(start, LONGEST_HEADER)])
        if len(data) - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(data) - start} bytes for {math.prod(shape)} numbers of {dtype.itemsize}")
        flat = np.frombuffer(data, dtype, math.prod(shape), start)
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    except (ValueError, TypeError, OverflowError, RecursionError, SyntaxError) as error:
        raise ValueProblem(f"{place} is not a numeric .npy array: {one_line(error, 120)}") from None


@lru_cache(256)
def _header(header: bytes) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Type, shape, and whether columns are stored one by one; the files of a dataset share a few headers."""
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an unknown version of the format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "buif":
        raise ValueError(f"it holds {dtype}")
    return dtype, shape, fortran
