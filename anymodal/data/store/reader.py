"""Tokenized datasets on disk, and how they are read; `anymodal.data.jobs.tokenize` makes them.

`manifest.json` describes the modalities with their streams, the shards, and all files. One stream of the samples of a
shard is STREAM/shard-00000.safetensors: grids `ids` (n, crops, length); dense streams `values` (n, crops, length,
width) in half precision, and `rows` (n, crops) where a value may have fewer rows than `length`; sequences `ids`, all in
a row, and `ends` (n * crops). `present` (n) says which samples have the stream. The names of a shard's samples and
their crops are sample-info/shard-00000.safetensors.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.data.schema import check_book, is_count, read_any
from anymodal.data.store.arrays import Spec, map_arrays, shard_name
from anymodal.errors import AnymodalError, DataError, brief, cause, counted
from anymodal.spaces import DenseSpace, Stream, TokenSpace

FORMAT = 3
KIND = "tokens"
MAX_CROPS = 100_000
INFO = "sample-info"  # no modality can have a name with a hyphen
CROP = ("left", "top", "width", "height", "flip")


def stream_specs(stream: Stream, samples: int, crops: int, flat: int | None = None) -> dict[str, Spec]:
    """The arrays that hold a stream of a shard; `flat` is the number of ids of all its sequences."""
    space, specs = stream.space, {"present": Spec("?", (samples,))}
    if isinstance(space, DenseSpace):
        rows = {"rows": Spec("<u4", (samples, crops))} if space.is_sequence else {}
        return specs | rows | {"values": Spec("<f2", (samples, crops, space.length, space.width))}
    dtype = "<u2" if space.size <= 1 << 16 else "<u4"
    if space.is_sequence:
        return specs | {"ids": Spec(dtype, (flat,)), "ends": Spec("<i8", (samples * crops,))}
    return specs | {"ids": Spec(dtype, (samples, crops, space.length))}


def info_specs(samples: int, crops: int) -> dict[str, Spec]:
    """The arrays that hold the names of the samples of a shard (UTF-8, in a row) and their crops."""
    return {
        "names": Spec("u1", (None,)),
        "name_ends": Spec("<i8", (samples,)),
        "crops": Spec("<f8", (samples, crops, len(CROP))),
    }


def read_stream(raw: Mapping[str, Any]) -> Stream:
    """A stream as a manifest describes it."""
    space = (DenseSpace if "width" in raw["space"] else TokenSpace)(**raw["space"])
    return Stream(str(raw["name"]), str(raw["modality"]), space, bool(raw["input"]), bool(raw["target"]))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a tokenized dataset. Raises DataError."""
    make = f"make one with: anymodal tokenize DATA --config CONFIG --out {folder}"
    try:
        there, begun = (folder / "manifest.json").exists(), (folder / ".jobs").is_dir()
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {cause(error)}") from None
    if not there and begun:
        raise DataError(f"{folder} is not finished; run the command that tokenizes it again, it goes on")
    if not there:
        raise DataError(f"{folder} is not a tokenized dataset ({make})")
    manifest = read_any(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND or manifest.get("format") != FORMAT:
        known = brief(manifest.get("format")) if isinstance(manifest, dict) else "something else"
        raise DataError(f"{folder} is not a tokenized dataset of format {FORMAT} but of {known}; {make}")
    check_book(manifest, folder / "manifest.json")
    return manifest


class TokenStore:
    """A tokenized dataset. `sample(i)` maps stream names to ids (n,) or rows (n, width), by the streams it has.

    At most about `open_files` files are open at a time. Raises DataError, also when a damaged file is first used.

    Args:
        folder: where it lies.
        open_files: how many files may be open.
        wanted: the streams to read; None stands for all.
    """

    def __init__(self, folder: str | Path, open_files: int = 256, wanted: Collection[str] | None = None) -> None:
        self.folder, self.open_files, self.wanted = Path(folder), open_files, wanted
        manifest = read_manifest(self.folder)
        try:
            self.streams: dict[str, dict[str, Any]] = {
                stream["name"]: stream for each in manifest["modalities"].values() for stream in each["streams"]
            }
            streams = {name: read_stream(s) for name, s in self.streams.items()}
            self._streams = {name: s for name, s in streams.items() if wanted is None or name in wanted}
            self.crops = manifest["settings"]["crops"]["count"]
            if not is_count(self.crops, MAX_CROPS) or not self.crops:
                raise ValueError(f"{brief(self.crops)} crops")
            self._counts = [int(shard["samples"]) for shard in manifest["shards"]]
            self._rows = [_kept(shard) for shard in manifest["shards"]]
            files, shards = manifest["files"], range(len(self._counts))
            self._sizes = {
                part: [int(files[f"{part}/{shard_name(k)}"]["size"]) for k in shards] for part in (INFO, *streams)
            }
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, AnymodalError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"{self.folder / 'manifest.json'} is damaged ({reason}); tokenize the data again") from None
        self._ends = np.cumsum([len(rows) for rows in self._rows])
        if not len(self):
            raise DataError(f"{self.folder} holds no samples; tokenize a folder that has some")
        self._open: dict[int, _Shard] = {}  # by shard, the one used last at the end

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStore, (self.folder, self.open_files, self.wanted)

    @property
    def sizes(self) -> list[int]:
        """The numbers of samples of the shards."""
        return [len(rows) for rows in self._rows]

    @property
    def open_shards(self) -> int:
        """How many shards stay open at a time."""
        return max(1, self.open_files // max(1, len(self._streams)))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def sample(self, index: int, crop: int = 0) -> dict[str, np.ndarray]:
        """One crop of a sample: ids (n,) int64 or rows (n, width) float32 by stream. Raises DataError."""
        if not (0 <= index < len(self) and 0 <= crop < self.crops):
            have = f"{counted(len(self), 'sample')} of {counted(self.crops, 'crop')}"
            raise DataError(f"{self.folder} has {have}, there is no crop {crop} of sample {index}")
        shard = int(self._ends.searchsorted(index, "right"))
        row = int(self._rows[shard][index - int(self._ends[shard])])  # counted from the end
        return self._shard(shard).read(row, crop)

    @cached_property
    def names(self) -> list[str]:
        """The names of the samples; reads a file a shard when first asked for. Raises DataError."""
        return [name for shard, rows in enumerate(self._rows) for name in self._names(shard, rows)]

    def _names(self, shard: int, rows: np.ndarray) -> list[str]:
        path = self.folder / INFO / shard_name(shard)
        arrays = map_arrays(path, self._sizes[INFO][shard], info_specs(self._counts[shard], self.crops))
        text, ends = arrays["names"].tobytes(), arrays["name_ends"].tolist()
        try:
            names = [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
        except UnicodeDecodeError:
            raise DataError(f"{path} is damaged: it holds names that are not text") from None
        return [names[row] for row in rows]

    def _shard(self, number: int) -> _Shard:
        shard = self._open.pop(number, None)
        if shard is None:
            while len(self._open) >= self.open_shards:
                del self._open[next(iter(self._open))]
            shard = _Shard({name: self._view(stream, number) for name, stream in self._streams.items()})
        self._open[number] = shard
        return shard

    def _view(self, stream: Stream, shard: int) -> _View:
        path, samples = self.folder / stream.name / shard_name(shard), self._counts[shard]
        specs = stream_specs(stream, samples, self.crops)
        kind = _Rows if stream.is_dense else _Sequences if stream.is_sequence else _Grids
        return kind(path, stream, samples, self.crops, map_arrays(path, self._sizes[stream.name][shard], specs))


def _kept(shard: Mapping[str, Any]) -> np.ndarray:
    """The rows of a shard's samples that have any stream."""
    return np.setdiff1d(np.arange(int(shard["samples"])), np.asarray(shard["empty"], np.int64))


class _View:
    """One stream of one shard."""

    def __init__(self, path: Path, stream: Stream, samples: int, crops: int, arrays: Mapping[str, np.ndarray]) -> None:
        self.path, self.space, self.crops, self.arrays = path, stream.space, crops, arrays
        self.present, self.length = arrays["present"], stream.space.length
        self.prepare()

    def prepare(self) -> None:
        """Look up what `stored` needs."""

    def stored(self, row: int, crop: int) -> np.ndarray:
        """A value as it is stored: ids (n,) or rows (n, width)."""
        raise NotImplementedError

    def damaged(self, what: str) -> DataError:
        return DataError(f"{self.path} is damaged: {what}; tokenize the data again, which repairs it")


class _Grids(_View):
    def prepare(self) -> None:
        assert isinstance(self.space, TokenSpace)
        self.ids, self.size = self.arrays["ids"], self.space.size

    def stored(self, row: int, crop: int) -> np.ndarray:
        return self.ids[row, crop]


class _Sequences(_Grids):
    def prepare(self) -> None:
        super().prepare()
        self.ends = self.arrays["ends"]

    def stored(self, row: int, crop: int) -> np.ndarray:
        at = row * self.crops + crop
        start, end = int(self.ends[at - 1]) if at else 0, int(self.ends[at])
        if not 0 <= start <= end <= min(start + self.length, len(self.ids)):
            raise self.damaged(f"sequence {at} goes from {start} to {end}")
        return self.ids[start:end]


class _Rows(_View):
    def prepare(self) -> None:
        self.values, self.counts = self.arrays["values"], self.arrays.get("rows")

    def stored(self, row: int, crop: int) -> np.ndarray:
        count = self.length if self.counts is None else int(self.counts[row, crop])
        if count > self.length:
            raise self.damaged(f"value {row} has {count} rows, more than {self.length}")
        rows = _widened().take(self.values[row, crop, :count].view(np.uint16))
        if not math.isfinite(np.vdot(rows, rows)):
            raise self.damaged("it holds numbers that are not finite")
        return rows


@functools.lru_cache(1)
def _widened() -> np.ndarray:
    """All numbers of half precision in single precision, by their bits: twice as fast as `astype`."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


class _Shard:
    """The streams of a shard. All ids of a sample are widened and checked together, which is faster than one by one."""

    def __init__(self, views: Mapping[str, _View]) -> None:
        self.views = list(views.items())

    def read(self, row: int, crop: int) -> dict[str, np.ndarray]:
        """The tokens of a crop of the sample in a row, by stream."""
        tokens: dict[str, np.ndarray] = {}
        names: list[str] = []
        parts: list[np.ndarray] = []
        views: list[_Grids] = []
        for name, view in self.views:
            if view.present[row]:
                tokens[name] = stored = view.stored(row, crop)
                if isinstance(view, _Grids):
                    names.append(name)
                    parts.append(stored)
                    views.append(view)
        if not parts:
            return tokens
        ids = np.concatenate(parts, dtype=np.int64)
        starts = [0, *itertools.accumulate([len(part) for part in parts])]
        for name, start, end in zip(names, starts, starts[1:], strict=False):
            tokens[name] = ids[start:end]
        _check(ids, starts, views)
        return tokens


def _check(ids: np.ndarray, starts: Sequence[int], views: Sequence[_Grids]) -> None:
    """Raise DataError if an id lies outside its space; stream k has the ids from starts[k] to starts[k + 1]."""
    filled = [k for k, (start, end) in enumerate(itertools.pairwise(starts)) if end > start]
    if not filled:
        return
    largest = np.maximum.reduceat(ids, [starts[k] for k in filled]).tolist()
    for k, most in zip(filled, largest, strict=True):
        if most >= views[k].size:
            raise views[k].damaged(f"it holds the id {most}, and there are {views[k].size}")
