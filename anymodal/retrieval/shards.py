"""A file of an index: vectors in half precision, the names of their rows, and columns of texts and numbers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from anymodal.data.store.arrays import Spec, map_arrays, write_arrays
from anymodal.errors import DataError, ValueProblem, brief, counted
from anymodal.retrieval.record import COLUMN, NAME, ShardRecord

VECTORS, NAMES = "vectors", "names"
PART = 4096  # vectors that are in float64 at once
Column = Sequence[str] | np.ndarray


def write_shard(path: Path, vectors: np.ndarray, names: Sequence[str], columns: Mapping[str, Column]) -> None:
    """Write vectors (rows, channels) of length 1 with their names and columns, whole or not at all.

    Texts become UTF-8 one after the other, each different one once, with the ends of each and a number for each row.
    Raises DataError.
    """
    arrays = {VECTORS: vectors.astype(np.float16), **_texts(NAMES, names)}
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            arrays[f"number.{name}"] = column.astype(np.float64)
        else:
            arrays |= _texts(f"text.{name}", column)
    write_arrays(arrays, path)


def _texts(name: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    number = {text: k for k, text in enumerate(dict.fromkeys(texts))}
    encoded = [text.encode(errors="surrogateescape") for text in number]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.ends": np.cumsum([len(each) for each in encoded], dtype=np.int64),
        f"{name}.codes": np.array([number[text] for text in texts], np.uint32),
    }


@attrs.frozen(eq=False)
class Texts(Sequence[str]):
    """A column of texts; each is decoded when it is asked for."""

    content: np.ndarray
    ends: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        return self.decoded(int(self.codes[row]))

    def decoded(self, code: int) -> str:
        """One of the different texts. Raises DataError for a code that there is not."""
        if not 0 <= code < len(self.ends):
            raise DataError(f"a row has the text number {code}, and there are {len(self.ends)}; make the index again")
        start, stop = (int(self.ends[code - 1]) if code else 0), int(self.ends[code])
        return self.content[max(start, 0) : max(stop, 0)].tobytes().decode(errors="surrogateescape")

    @property
    def different(self) -> list[str]:
        """The different texts, in the order of their codes."""
        return [self.decoded(code) for code in range(len(self.ends))]


class Shard:
    """A file of an index through a memory map: only what is used is read from the disk.

    Raises DataError for a missing or damaged file, and for one of another shape.
    """

    def __init__(self, folder: Path, record: ShardRecord, channels: int, kinds: Mapping[str, str]) -> None:
        self.record = record
        self.path = folder / record.file
        expected = {VECTORS: Spec("<f2", (record.rows, channels)), **_text_specs(NAMES, record.rows)}
        for name in record.columns:
            if kinds[name] == "number":
                expected[f"number.{name}"] = Spec("<f8", (record.rows,))
            else:
                expected |= _text_specs(f"text.{name}", record.rows)
        self._arrays = map_arrays(self.path, record.size, expected)
        self._kinds = {name: kinds[name] for name in record.columns}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that the map is read-only; nobody writes to it
            self.vectors = torch.from_numpy(self._arrays[VECTORS])

    def __len__(self) -> int:
        return self.record.rows

    @cached_property
    def living(self) -> np.ndarray:
        """The rows that were not removed: bool (rows,)."""
        return self.record.living()

    @cached_property
    def names(self) -> Texts:
        return self._text(NAMES)

    def column(self, name: str) -> Texts | np.ndarray | None:
        """What the rows have under that name; None where they have nothing."""
        if name == "name":
            return self.names
        if name not in self._kinds:
            return None
        return self._arrays[f"number.{name}"] if self._kinds[name] == "number" else self._text(f"text.{name}")

    def _text(self, name: str) -> Texts:
        return Texts(*(self._arrays[f"{name}.{part}"] for part in ("bytes", "ends", "codes")))


def _text_specs(name: str, rows: int) -> dict[str, Spec]:
    return {
        f"{name}.bytes": Spec("u1", (None,)),
        f"{name}.ends": Spec("<i8", (None,)),
        f"{name}.codes": Spec("<u4", (rows,)),
    }


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file holds what was written; one that is gone or cannot be read does not."""
    try:
        return file_record(path)[1] == sha256
    except OSError:
        return False


def unit(vectors: np.ndarray, what: str = "vectors") -> np.ndarray:
    """Vectors (n, channels) scaled to length 1, float32.

    Raises ValueProblem for one that is not finite or has no direction.
    """
    try:
        given = np.asarray(vectors)
    except ValueError:
        raise ValueProblem(f"{what} are lists of different lengths") from None
    if given.dtype.kind not in "fiu" or given.ndim != 2:
        raise ValueProblem(f"{what} are numbers of shape (rows, channels), not {given.dtype} of shape {given.shape}")
    whole = np.empty(given.shape, np.float32)
    for start in range(0, len(given), PART):
        numbers = given[start : start + PART].astype(np.float64)
        largest = np.abs(numbers).max(1, keepdims=True, initial=0)
        bad = np.flatnonzero(~np.isfinite(largest[:, 0]) | (largest[:, 0] == 0))
        if bad.size:
            raise ValueProblem(f"{what}: number {start + bad[0]} has no direction: it is zero, or not finite")
        numbers /= largest  # squares of what is very large or small would leave the range of numbers
        whole[start : start + PART] = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    return whole


def checked_texts(texts: Iterable[Any], what: str) -> list[str]:
    """Texts that can be written. Raises ValueProblem for a single one, for other values, and for halves of letters."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise ValueProblem(f"{what} are a list of texts, not {brief(texts)}")
    found = list(texts)
    for text in found:
        if not isinstance(text, str):
            raise ValueProblem(f"{what} are texts, got {brief(text)}")
        try:
            text.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise ValueProblem(f"{what} hold {brief(text)}, which is no text of whole letters") from None
    return found


def checked_column(name: str, column: Sequence[Any] | np.ndarray, rows: int) -> Column:
    """A column as it is written: texts, or an array of numbers. Raises ValueProblem."""
    if not isinstance(name, str) or not COLUMN.fullmatch(name) or name == NAME:
        raise ValueProblem(f"{brief(name)} cannot be a column; use small letters, digits and _, and not 'name'")
    if isinstance(column, str) or not isinstance(column, (Sequence, np.ndarray)):
        raise ValueProblem(f"the column {name!r} is a list or an array, not {brief(column)}")
    if len(column) != rows:
        raise ValueProblem(f"the column {name!r} has {counted(len(column), 'value')} for {counted(rows, 'row')}")
    if not isinstance(column, np.ndarray) and all(isinstance(each, str) for each in column):
        return checked_texts(column, f"the column {name!r}")
    try:
        numbers = np.asarray(column)
    except ValueError:  # lists of several lengths
        numbers = np.empty(0, object)
    if numbers.dtype.kind not in "biuf" or numbers.ndim != 1:
        raise ValueProblem(f"the column {name!r} holds neither texts alone nor numbers alone")
    return numbers.astype(np.float64)


def shard_record(path: Path, file: str, rows: int, columns: tuple[str, ...]) -> ShardRecord:
    """The record of a file that is written."""
    return ShardRecord(file, rows, *file_record(path), columns=columns)


def file_record(path: Path) -> tuple[int, str]:
    """The size of a file, and the sha256 of its content. Raises OSError."""
    with path.open("rb") as content:
        return path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()
