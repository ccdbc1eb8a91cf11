"""What a reader of a data set gives: samples by number, each with its inputs and its truth, or the reason why not."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.errors import DataError, ValueProblem, cause, one_line
from anymodal.families.picture_files import read_picture
from anymodal.families.pictures import colors_of
from anymodal.files import MAX_BYTES, naming, parse_json, plain_file, read_array

NONE = 255


@attrs.frozen
class Sample:
    """Natural values by modality, and the true value of the target; at the size of the files."""

    inputs: Mapping[str, Any]
    truth: Any


class Samples(ABC):
    """The samples of a data set, in the order of their names."""

    sized = False  # whether values come at the model's size
    notes: Sequence[str] = ()  # what a reader of the report has to know, such as classes that are left out

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, number: int) -> str:
        """The name of a sample, for people."""

    @abstractmethod
    def read(self, number: int) -> Sample:
        """A sample. Raises ValueProblem where a file of it is missing or cannot be used."""

    def state(self, count: int) -> object:
        """What tells by the files of the first samples, as JSON can hold it, that they are others now."""
        return None


class FileSamples(Samples):
    """Samples that are files below a root: one picture each, with what is beside it."""

    layout: ClassVar[str] = ""

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self.root, self.files = root, sorted(files)
        if not self.files:
            raise DataError(f"{root} has no samples; the layout is {self.layout}")

    def __len__(self) -> int:
        return len(self.files)

    def name(self, number: int) -> str:
        return self.files[number]

    def parts(self, number: int) -> list[Path]:
        """The files that a sample is read from, its picture first."""
        return [self.root / self.files[number]]

    def state(self, count: int) -> object:
        return stamps(path for number in range(min(count, len(self.files))) for path in self.parts(number))


def stamps(paths: Iterable[Path]) -> str:
    """A digest of the sizes and times of files."""
    whole = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
            whole.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
        except (OSError, ValueError):
            whole.update(b"-\n")
    return whole.hexdigest()[:32]


def listed(root: Path, pattern: str) -> list[str]:
    """The files below a root that a pattern finds, as relative names. Raises DataError for no such folder."""
    if not root.is_dir():
        raise DataError(f"no such folder: {root}")
    try:
        return [path.relative_to(root).as_posix() for path in root.glob(pattern)]
    except OSError as error:
        raise DataError(f"{root} cannot be read: {cause(error)}") from None


def photograph(path: Path) -> np.ndarray:
    """A picture as uint8 (H, W, 3). Raises ValueProblem."""
    with naming(path):
        return colors_of(read_picture(path), photographic=True)


def array(path: Path, shape: tuple[int, ...] | None = None, kinds: str = "fiub") -> np.ndarray:
    """An .npy array of that shape, without axes of length 1 at its end. Raises ValueProblem."""
    found = read_array(path)
    while found.ndim > 2 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.dtype.kind not in kinds or (shape is not None and found.shape != shape):
        wanted = "floats" if kinds == "f" else "numbers"
        raise ValueProblem(f"{path} holds {found.dtype} of shape {found.shape}, not of shape {shape} with {wanted}")
    return found


def single(found: np.ndarray) -> np.ndarray:
    """Numbers in single precision; those beyond it are infinite."""
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def read_annotations(path: Path) -> dict[str, Any]:
    """The object in a JSON file of annotations. Raises DataError."""
    try:
        raw = parse_json(plain_file(path, MAX_BYTES).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, ValueProblem) as error:
        raise DataError(str(error)) from None
    if not isinstance(raw, dict):
        raise DataError(f"{path} holds no JSON object")
    return raw


def rows(raw: Mapping[str, Any], key: str, needed: Mapping[str, type], path: Path) -> list[dict[str, Any]]:
    """A list of objects that have certain keys with values of certain types. Raises DataError for anything else."""
    found = raw.get(key)
    if not isinstance(found, list):
        raise DataError(f"{path} has no list {key!r}")
    for number, row in enumerate(found):
        for name, kind in needed.items():
            value = row.get(name) if isinstance(row, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise DataError(f"{path}: {key}[{number}] has no {name!r} that is {kind.__name__}")
    return found


def class_table(names: Mapping[int, Sequence[str]], known: Sequence[str]) -> tuple[dict[int, int], list[str]]:
    """Which class of a model each id of a data set is, by any of its names, and the names of those that are none."""
    numbers = {name.lower(): number for number, name in enumerate(known)}
    table, lost = {}, []
    for number, own in names.items():
        found = next((numbers[name.lower()] for name in own if name.lower() in numbers), None)
        if found is None:
            lost.append(own[0])
        else:
            table[number] = found
    return table, lost


def lost_note(lost: Sequence[str], total: int) -> list[str]:
    """What is said of classes that the model does not have."""
    if not lost:
        return []
    shown = ", ".join(one_line(name, 40) for name in lost[:10]) + (
        f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    )
    return [f"{len(lost)} of {total} classes are none of the model's, and their pixels are left out: {shown}"]
