"""Files of named arrays in the safetensors format: written block by block, read through a memory map."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np

from anymodal.errors import DataError
from anymodal.files import replacing

MAX_HEADER = 64 * 1024
TYPES = {"BOOL": "?", "U8": "u1", "U16": "<u2", "U32": "<u4", "I64": "<i8", "F16": "<f2", "F64": "<f8"}
CODES = {np.dtype(kind): code for code, kind in TYPES.items()}


@attrs.frozen
class Spec:
    """Type and shape of an array; as something to expect, None stands for any length of an axis."""

    dtype: np.dtype = attrs.field(converter=np.dtype)
    shape: tuple[int | None, ...]

    def fits(self, array: np.ndarray) -> bool:
        same = all(want in (None, have) for want, have in zip(self.shape, array.shape, strict=False))
        return array.dtype == self.dtype and array.ndim == len(self.shape) and same


def shard_name(number: int, suffix: str = ".safetensors") -> str:
    """The name of the file with the samples of a shard."""
    return f"shard-{number:05d}{suffix}"


@contextmanager
def writing(path: Path, specs: Mapping[str, Spec]) -> Iterator[Callable[[str, int, np.ndarray], None]]:
    """Write a file of arrays, whole or not at all; the value is called with a name, the first row and a block of rows.

    What is not written is zero. Raises DataError if the disk is full or the folder cannot be written.
    """
    entries: dict[str, dict[str, object]] = {}
    places, end = {}, 0
    for name, spec in sorted(specs.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):  # keeps all aligned
        row = math.prod(map(int, spec.shape[1:])) * spec.dtype.itemsize  # type: ignore[arg-type]
        places[name] = (end, row, spec.dtype)
        start, end = end, end + row * int(spec.shape[0] or 0)
        entries[name] = {"dtype": CODES[spec.dtype], "shape": list(spec.shape), "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with replacing(path) as temporary, temporary.open("r+b") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)

        def put(name: str, start: int, block: np.ndarray) -> None:
            first, row, dtype = places[name]
            file.seek(8 + len(header) + first + start * row)
            file.write(np.ascontiguousarray(block, dtype).tobytes())

        yield put


def write_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays to a file, whole or not at all. Raises DataError."""
    with writing(path, {name: Spec(array.dtype, array.shape) for name, array in arrays.items()}) as put:
        for name, array in arrays.items():
            put(name, 0, array)


def map_arrays(path: Path, size: int, expected: Mapping[str, Spec]) -> dict[str, np.ndarray]:
    """The arrays of a file of `size` bytes, read-only and read from the disk when used; the file stays open with them.

    Raises DataError if it has another size or other arrays than `expected`.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing; run the command that made the dataset again, it makes what is not there"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(mapped) != size:
        raise _damaged(path, f"it has {len(mapped)} bytes, not {size}")
    try:
        length = int.from_bytes(mapped[:8], "little")
        if not 0 < length <= min(MAX_HEADER, size - 8):
            raise ValueError(f"a header of {length} bytes")
        entries = json.loads(mapped[8 : 8 + length])
        arrays = {name: _array(mapped, 8 + length, entries[name]) for name in expected}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise _damaged(path, f"its header cannot be used ({type(error).__name__}: {error!s:.100})") from None
    for name, spec in expected.items():
        if not spec.fits(arrays[name]):
            found = f"{arrays[name].dtype} of shape {arrays[name].shape}"
            raise _damaged(path, f"its array {name!r} is {found}, not {spec.dtype} of shape {spec.shape}")
    return arrays


def _array(mapped: mmap.mmap, base: int, entry: Mapping[str, list[int]]) -> np.ndarray:
    dtype, shape, (start, end) = np.dtype(TYPES[str(entry["dtype"])]), entry["shape"], entry["data_offsets"]
    if min([0, *shape]) < 0 or start < 0 or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError("sizes that contradict each other")
    return np.frombuffer(mapped, dtype, math.prod(shape), base + start).reshape(shape)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} is damaged: {what}; run the command that made the dataset again, it repairs it")
