"""Completion records: which files one part of a shard has become, with their checksums, and what was left out.

While a dataset is made, they lie in its folder `.jobs`, one for each part of each shard that is finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from anymodal.config import structure
from anymodal.data.digest import digest
from anymodal.data.jobs.problems import Problem
from anymodal.errors import AnymodalError
from anymodal.files import read_json, write_json

RECORDS = ".jobs"

Outputs = Callable[[int, str], Mapping[str, Sequence[Path]]]


@attrs.frozen
class Checksum:
    """Size in bytes and sha256 of a file; of several, the sum and the hash of their names and hashes."""

    size: int
    sha256: str

    def fits(self, paths: Sequence[Path]) -> bool:
        """Whether files are those that the checksum was made of."""
        try:
            return sum(path.stat().st_size for path in paths) == self.size and checksum(paths) == self
        except OSError:
            return False


@attrs.frozen
class CompletionRecord:
    """What one part of one shard has become, and from which files (see `anymodal.data.jobs.inputs`)."""

    files: dict[str, Checksum]
    problems: list[Problem] = attrs.field(factory=list)
    inputs: dict[str, str] = attrs.field(factory=dict)


def checksum(paths: Sequence[Path]) -> Checksum:
    """The checksum of a file, or of several that belong together. Raises OSError."""
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    size = sum(path.stat().st_size for path in paths)
    if len(paths) == 1:
        return Checksum(size, hashes[0])
    return Checksum(size, digest([[path.name, each] for path, each in zip(paths, hashes, strict=True)]))


def record_path(folder: Path, shard: int, part: str) -> Path:
    return folder / RECORDS / f"{part}-{shard:05d}.json"


def read_record(folder: Path, shard: int, part: str) -> CompletionRecord | None:
    """The record of a part of a shard in a dataset's folder; None where there is none, or a damaged one."""
    path = record_path(folder, shard, part)
    try:
        return structure(read_json(path), CompletionRecord, str(path)) if path.exists() else None
    except (AnymodalError, OSError):
        return None


def write_record(
    folder: Path,
    outputs: Outputs,
    shard: int,
    part: str,
    problems: Iterable[Problem],
    inputs: Mapping[str, str],
) -> None:
    """Write down that the files of a part are in place. Raises DataError."""
    checksums = {name: checksum(paths) for name, paths in outputs(shard, part).items()}
    record = CompletionRecord(checksums, list(problems), dict(inputs))
    write_json(attrs.asdict(record), record_path(folder, shard, part))
