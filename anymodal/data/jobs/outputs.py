"""Files of one modality for the samples of a shard: in a tar that webdataset reads, or in a plain folder."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anymodal.data.store.arrays import shard_name
from anymodal.errors import ConfigError, DataError, ValueProblem, nearest
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
    found = [path for name in names for suffix in modality.suffixes if (path := folder / f"{name}{suffix}").is_file()]
    return {f"{modality.name}/{shard_name(shard, '')}": found}


def write_files(root: Path, layout: str, modality: str, shard: int, files: Iterable[File]) -> None:
    """Write the files of a shard, each whole or not at all, and so the tar. Raises DataError."""
    if layout == "folder":
        for name, suffix, content in files:
            with replacing(root / modality / f"{name}{suffix}") as temporary:
                temporary.write_bytes(content)
        return
    with replacing(root / modality / shard_name(shard, ".tar")) as temporary, tarfile.open(temporary, "w") as tar:
        for name, suffix, content in files:
            entry = tarfile.TarInfo(f"{member_name(name)}{suffix}")  # of nobody, and of the beginning of time
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def file_of(modality: Modality, value: Any) -> tuple[str, bytes]:
    """The ending and the content of the file that a modality writes for a value."""
    suffix = modality.suffixes[0]
    with tempfile.TemporaryDirectory(prefix="anymodal-") as folder:
        path = Path(folder) / f"value{suffix}"
        modality.write(value, path)
        return suffix, path.read_bytes()


class ShardFiles:
    """The values of one modality of a shard, read by the names of the samples. Raises DataError for a damaged tar."""

    def __init__(self, root: Path, layout: str, modality: Modality, shard: int, names: Sequence[str]) -> None:
        self.modality = modality
        self._files: dict[str, Callable[[], tuple[str, bytes]]] = {}
        if layout == "folder":
            for name in names:
                for suffix in modality.suffixes:
                    if (path := root / modality.name / f"{name}{suffix}").is_file():
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
        with tempfile.NamedTemporaryFile(prefix="anymodal-", suffix=suffix) as file:
            file.write(content)
            file.flush()
            try:
                return self.modality.read(Path(file.name))
            except ValueProblem as error:
                raise ValueProblem(str(error).replace(file.name, f"{self.modality.name} of {name}")) from None


def _whole(path: Path) -> tuple[str, bytes]:
    return path.suffix, path.read_bytes()
