"""Files of one modality for the samples of a shard: in a tar that webdataset reads, or in a plain folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anymodal.content import file_in_memory
from anymodal.data.store.arrays import shard_name
from anymodal.durable import write_all
from anymodal.errors import ConfigError, DataError, ValueProblem, cause, nearest, system_errors
from anymodal.files import MAX_BYTES, replacing
from anymodal.modality import Modality

LAYOUTS = ("tars", "folder")
File = tuple[str, str, bytes]  # name of the sample, ending, content


def check_layout(layout: str) -> None:
    """Raise ConfigError for an unknown layout."""
    if layout not in LAYOUTS:
        raise ConfigError(f"no layout {layout!r}{nearest(layout, LAYOUTS)}; there are: {', '.join(LAYOUTS)}")


def member_name(name: str) -> str:
    """The name of a sample in a tar: webdataset ends it at the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.replace('.', '-')}"


def paths(root: Path, layout: str, modality: Modality, shard: int, names: Sequence[str]) -> dict[str, list[Path]]:
    """The files of a shard, together under one name: of a folder, those that are there."""
    if layout == "tars":
        name = f"{modality.name}/{shard_name(shard, '.tar')}"
        return {name: [root / name]}
    folder = root / modality.name
    found = [path for name in names for suffix in modality.suffixes if _is_file(path := folder / f"{name}{suffix}")]
    return {f"{modality.name}/{shard_name(shard, '')}": found}


def remove_earlier(root: Path, modality: Modality, names: Sequence[str], written: Collection[tuple[str, str]]) -> None:
    """Remove what an earlier run wrote for samples into a folder, but for what is `written` now.

    Raises DataError.
    """
    for name in names:
        for suffix in modality.suffixes:
            path = root / modality.name / f"{name}{suffix}"
            if (name, suffix) not in written and _is_file(path):
                try:
                    path.unlink()
                except OSError as error:
                    raise DataError(f"cannot remove {path}: {cause(error)}") from None


def write_files(root: Path, layout: str, modality: str, shard: int, files: Iterable[File]) -> None:
    """Write the files of a shard, each whole or not at all, and so the tar. Raises DataError."""
    if layout == "folder":
        with system_errors(DataError, f"cannot write to {root / modality}"):
            write_all((root / modality / f"{name}{suffix}", content) for name, suffix, content in files)
        return
    with replacing(root / modality / shard_name(shard, ".tar")) as temporary, tarfile.open(temporary, "w") as tar:
        for name, suffix, content in files:
            entry = tarfile.TarInfo(f"{member_name(name)}{suffix}")  # of nobody, and of the beginning of time
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def noting(files: Iterable[File], written: set[tuple[str, str]]) -> Iterator[File]:
    """The files as they come; their names and endings go to `written`."""
    for name, suffix, content in files:
        written.add((name, suffix))
        yield name, suffix, content


def _is_file(path: Path) -> bool:
    """Whether there is such a file; names that are too long have none. Raises DataError."""
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path!s:.300} cannot be used: {cause(error)}") from None


def file_of(modality: Modality, value: Any, folder: Path) -> tuple[str, bytes]:
    """The ending and the content of the file that a modality writes for a value, made in a folder of nothing else."""
    suffix = modality.suffixes[0]
    path = folder / f"value{suffix}"
    try:
        modality.write(value, path)
        return suffix, path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


class ShardFiles:
    """The values of one modality of a shard, read by the names of the samples. Raises DataError for a damaged tar."""

    def __init__(self, root: Path, layout: str, modality: Modality, shard: int, names: Sequence[str]) -> None:
        self.modality = modality
        self._files: dict[str, Callable[[], tuple[str, bytes]]] = {}
        if layout == "folder":
            for name in names:
                for suffix in modality.suffixes:
                    if _is_file(path := root / modality.name / f"{name}{suffix}"):
                        self._files[name] = partial(_whole, path)
            return
        self._path = root / modality.name / shard_name(shard, ".tar")
        members = dict(self._members())
        for name in names:
            if (span := members.get(member_name(name))) is not None:
                self._files[name] = partial(self._cut, *span)

    def _members(self) -> Iterator[tuple[str, tuple[str, int, int]]]:
        try:
            with tarfile.open(self._path, "r:") as tar:
                for member in tar:
                    stem, _, ending = member.name.rpartition(".")
                    yield stem, (f".{ending}", member.offset_data, member.size)
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"{self._path} cannot be read: {error}") from None

    def _cut(self, suffix: str, start: int, size: int) -> tuple[str, bytes]:
        with self._path.open("rb") as file:
            file.seek(start)
            return suffix, file.read(min(size, MAX_BYTES))

    def holds(self, name: str) -> bool:
        return name in self._files

    def read(self, name: str) -> Any:
        """The natural value of a sample. Raises ValueProblem."""
        suffix, content = self._files[name]()
        with file_in_memory(content, suffix) as path:
            try:
                return self.modality.read(path)
            except ValueProblem as error:
                raise ValueProblem(str(error).replace(str(path), f"{self.modality.name} of {name}")) from None


def _whole(path: Path) -> tuple[str, bytes]:
    return path.suffix, path.read_bytes()
