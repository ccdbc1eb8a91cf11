"""Tokenised datasets on disk: one array a stream, read through memory maps.

`manifest.json` lists the streams; grids are STREAM.npy (samples, length), dense streams STREAM.npy (samples, length,
width) in half precision, sequences STREAM.npy (all ids in a row) with STREAM.ends.npy. A sample may lack streams.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.data.folder import AlignedFolder
from anymodal.data.steps import step_batches
from anymodal.errors import DataError
from anymodal.files import read_array, read_json, write_json
from anymodal.spaces import DenseSpace, Stream
from anymodal.tokens import ModalitySet

FORMAT = 1


def tokenize_folder(
    folder: AlignedFolder,
    modalities: ModalitySet,
    out: Path,
    *,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Tokenise an aligned folder into `out`; returns the number of samples. `workers` processes read and derive values.

    `out` appears only when it is complete. Raises DataError.
    """
    if out.exists():
        raise DataError(f"{out} exists already; remove it or choose another folder")
    building = out.with_name(f".{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        _fill(building, folder, modalities, batch, workers, progress)
        building.rename(out)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return len(folder)


def _fill(
    out: Path,
    folder: AlignedFolder,
    modalities: ModalitySet,
    batch: int,
    workers: int,
    progress: Callable[[int], None] | None,
) -> None:
    count = len(folder)
    writers = {s.name: _Writer(out, s, count) for s in modalities.layout.streams}

    def read(step: int) -> list[dict[str, Any]]:
        return [folder.read(name) for name in folder.names[step * batch : (step + 1) * batch]]

    for step, samples in enumerate(step_batches(read, -(-count // batch), workers)(0)):
        start = step * batch
        for modality in modalities:
            rows = [k for k, sample in enumerate(samples) if modality.name in sample]
            if rows:
                tokens = modality.tokenize([samples[k][modality.name] for k in rows])
                for stream, arrays in tokens.items():
                    for k, array in zip(rows, arrays, strict=True):
                        writers[stream].put(start + k, array)
        if progress is not None:
            progress(min(start + batch, count))
    for writer in writers.values():
        writer.close()
    streams = [attrs.asdict(s) for s in modalities.layout.streams]
    write_json({"format": FORMAT, "samples": count, "streams": streams}, out / "manifest.json")


class _Writer:
    """Collects one stream."""

    def __init__(self, out: Path, stream: Stream, count: int) -> None:
        self.out, self.stream, self.count = out, stream, count
        self.present = np.zeros(count, bool)
        self.sequences: dict[int, np.ndarray] = {}
        self.array: np.memmap | None = None
        if isinstance(stream.space, DenseSpace) or not stream.is_sequence:
            shape: tuple[int, ...] = (count, stream.space.length)
            dtype: Any = np.float16 if isinstance(stream.space, DenseSpace) else _id_type(stream.space.size)
            shape += (stream.space.width,) if isinstance(stream.space, DenseSpace) else ()
            self.array = np.lib.format.open_memmap(out / f"{stream.name}.npy", "w+", dtype, shape)

    def put(self, index: int, tokens: np.ndarray) -> None:
        self.present[index] = True
        if self.array is None:
            self.sequences[index] = tokens
        else:
            self.array[index] = tokens

    def close(self) -> None:
        np.save(self.out / f"{self.stream.name}.present.npy", self.present)
        if self.array is not None:
            self.array.flush()
            return
        parts = [self.sequences.get(i, np.empty(0, np.int64)) for i in range(self.count)]
        ids = np.concatenate(parts) if parts else np.empty(0, np.int64)
        np.save(self.out / f"{self.stream.name}.npy", ids.astype(_id_type(self.stream.space.size)))  # type: ignore[union-attr]
        np.save(self.out / f"{self.stream.name}.ends.npy", np.cumsum([len(p) for p in parts]))


def _id_type(size: int) -> type:
    return np.uint16 if size <= 1 << 16 else np.uint32


class TokenStore:
    """A tokenised dataset. `sample(i)` maps stream names to ids (n,) or rows (n, width)."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_json(self.folder / "manifest.json") if (self.folder / "manifest.json").exists() else None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise DataError(
                f"{self.folder} is not a tokenised dataset (make one with: anymodal tokenize DATA --out {self.folder})"
            )
        self.count = int(manifest["samples"])
        if self.count < 1:
            raise DataError(f"{self.folder} holds no samples; tokenise a folder that has some")
        self.streams: dict[str, dict[str, Any]] = {s["name"]: s for s in manifest["streams"]}
        self._arrays = {name: self._map(name) for name in self.streams}
        self._present = {name: read_array(self.folder / f"{name}.present.npy") for name in self.streams}
        self._ends = {
            name: read_array(path) for name in self.streams if (path := self.folder / f"{name}.ends.npy").exists()
        }

    def _map(self, name: str) -> np.ndarray:
        try:
            return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder / name}.npy cannot be read: {error}") from None

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> dict[str, np.ndarray]:
        tokens = {}
        for name, array in self._arrays.items():
            if not self._present[name][index]:
                continue
            ends = self._ends.get(name)
            if ends is not None:
                tokens[name] = array[ends[index - 1] if index else 0 : ends[index]].astype(np.int64)
            else:
                tokens[name] = array[index].astype(np.float32 if array.dtype == np.float16 else np.int64)
        return tokens
