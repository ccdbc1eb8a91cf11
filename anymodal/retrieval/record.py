"""What `index.json` says of an index: of which modality and model the vectors are, and the files that hold them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.config import structure
from anymodal.config.validators import HEAVIEST, weighed
from anymodal.data.digest import changes
from anymodal.data.jobs.model_source import ModelSource
from anymodal.data.schema import HASH, MAX_SAMPLES, MAX_SIZE, is_count
from anymodal.errors import (
    AnymodalError,
    ConfigError,
    DataError,
    GenerationError,
    ValueProblem,
    brief,
    nearest,
    system_errors,
)
from anymodal.files import LOCK, MAX_TEXT_BYTES, only_writer, read_json, write_text
from anymodal.outputs.fingerprint import Fingerprint

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

INDEX, KIND, FORMAT = "index.json", "index", 1
NAME = "name"  # as a column, what rows are called
MOST_CHANNELS = 65_536
MOST_CALIBRATED = 4096  # channels, whose square is kept
SHARD_FILE = re.compile(r"[a-z0-9_-]+/([a-z0-9_]+/)?shard-\d{5,}\.safetensors")
CALIBRATION_FILE = re.compile(r"calibrations/[0-9a-f]{16}\.safetensors")
COLUMN = re.compile(r"[a-z][a-z0-9_]*")
ASKED = re.compile(rf"{COLUMN.pattern}(\+{COLUMN.pattern})*")
MOST_DRAWS = 1000
COLUMN_KINDS = ("text", "number")


@attrs.frozen
class ModelRecord:
    """Which model the vectors belong to.

    name: as `anymodal.load` was asked, for people.
    source: the commit of a repository, or the checksum of its files; empty for a model that was not loaded.
    tokenizer: the fingerprint of the tokenizer of the modality of the vectors.
    weights, dtype, modalities: the fingerprint of the weights in memory, which depends on the other two, and of what
        makes vectors of ids.
    """

    name: str = ""
    source: dict[str, Any] = attrs.field(factory=dict)
    tokenizer: str = ""
    weights: Fingerprint = attrs.field(factory=Fingerprint)
    dtype: str = ""
    modalities: tuple[str, ...] = ()

    def difference(self, other: ModelRecord) -> str:
        """In which way another model is not this one, in words; an empty string where it is."""
        if self.source and other.source:
            if found := changes(self.source, other.source):
                return found
        elif bool(self.source) != bool(other.source) and self._loaded != other._loaded:
            return "one of them was loaded from files and the other was made in memory"
        if "" not in (self.tokenizer, other.tokenizer) and self.tokenizer != other.tokenizer:
            return "its tokenizer is another"
        if self._loaded == other._loaded and (found := self.weights.difference(other.weights)):
            return f"others are its weights of {found}"
        return ""

    @property
    def _loaded(self) -> tuple[str, tuple[str, ...]]:
        return self.dtype, tuple(sorted(self.modalities))


@attrs.frozen
class ShardRecord:
    """A file of vectors: its rows, size and sha256, the data they come from, and which rows were removed.

    columns: the names of what is known of each row beside its name.
    removed: a bit for each row, the first one of a byte its highest, in base64; empty where none was.
    """

    file: str
    rows: int
    size: int
    sha256: str
    data: str = ""
    columns: tuple[str, ...] = ()
    removed: str = ""

    def living(self) -> np.ndarray:
        """The rows that were not removed: bool (rows,). Raises ValueError."""
        if not self.removed:
            return np.ones(self.rows, bool)
        bits = np.frombuffer(base64.b64decode(self.removed, validate=True), np.uint8)
        if len(bits) != (self.rows + 7) // 8:
            raise ValueError(f"{self.file} has {self.rows} rows, and {len(bits)} bytes say which were removed")
        return ~np.unpackbits(bits, count=self.rows).astype(bool)

    def without(self, living: np.ndarray) -> ShardRecord:
        """The record with other rows alive."""
        removed = "" if living.all() else base64.b64encode(np.packbits(~living).tobytes()).decode()
        return attrs.evolve(self, removed=removed)


@attrs.frozen
class CalibrationRecord:
    """A file with what was learned of queries by some modalities, its size and sha256, and from how many pairs.

    reads, dtype: the hashes of what reads those modalities, and the numbers that the model was loaded in.
    """

    file: str
    size: int
    sha256: str
    pairs: int
    reads: dict[str, str] = attrs.field(factory=dict)
    dtype: str = ""

    def difference(self, reads: Mapping[str, str], dtype: str) -> str:
        """What reads those modalities and is another now, in words; "" where nothing is, or other numbers hide it."""
        if dtype != self.dtype:
            return ""
        return Fingerprint(modalities=self.reads).difference(Fingerprint(modalities=dict(reads)))


@attrs.frozen
class IndexRecord:
    """What is known of an index.

    by: the modality of the vectors, "" for vectors of one's own.
    channels: the length of a vector.
    columns: what rows may have beside their names, each "text" or "number".
    calibrations: of queries, by their modalities such as "caption+depth".
    """

    channels: int
    by: str = ""
    model: ModelRecord = attrs.field(factory=ModelRecord)
    columns: dict[str, str] = attrs.field(factory=dict)
    shards: tuple[ShardRecord, ...] = ()
    calibrations: dict[str, CalibrationRecord] = attrs.field(factory=dict)

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def with_shards(self, shards: tuple[ShardRecord, ...], columns: Mapping[str, str]) -> IndexRecord:
        """The record with these shards, and with more columns. Raises ValueProblem where a column changes its kind."""
        for name, kind in columns.items():
            if self.columns.get(name, kind) != kind:
                raise ValueProblem(f"the column {name!r} holds {self.columns[name]}s, and the new rows {kind}s")
        return attrs.evolve(self, shards=shards, columns={**self.columns, **columns})


def check_index_folder(folder: Path) -> None:
    """Raise DataError for a folder that holds something, and no index that was made or begun."""
    if folder.is_dir() and not (folder / INDEX).exists():
        others = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
        if any(not name.startswith("part-") for name in others):
            raise DataError(f"{folder} holds other things ({', '.join(others[:3])}); choose another folder for --out")


def no_vector(name: str) -> GenerationError:
    """The error for an index by a modality whose values are no vectors."""
    return GenerationError(f"{name!r} is not a vector: an index is by modalities such as dinov2_global")


def check_predicted(record: IndexRecord, folder: Path) -> None:
    """Raise DataError for an index of vectors that no model made."""
    if not record.by:
        raise DataError(f"{folder} holds vectors of no modality; ask it for vectors, with Index.search")


def read_index_record(folder: Path) -> IndexRecord:
    """What the index in a folder says of itself. Raises DataError, which names the file."""
    path = folder / INDEX
    if not path.exists():
        begun = " yet; the command that makes it goes on with it" if any(folder.glob("part-*")) else ""
        raise DataError(f"{folder} holds no index{begun or '; anymodal retrieve index makes one'}")
    try:
        raw = read_json(path)
        if not isinstance(raw, dict) or [raw.pop("kind", None), raw.pop("format", None)] != [KIND, FORMAT]:
            raise DataError(f"{path} is of another kind or of another version; make the index again")
        record = structure(raw, IndexRecord, str(path))
        _check(record)
    except DataError:
        raise
    except (AnymodalError, ValueError) as error:
        raise DataError(f"{path} is damaged: {str(error).removeprefix(f'{path}: ')}; make the index again") from None
    return record


def _check(record: IndexRecord) -> None:
    """Raise ValueError for what no index says."""
    if not 1 <= record.channels <= MOST_CHANNELS:
        raise ValueError(f"vectors of {record.channels} channels")
    for name, kind in record.columns.items():
        if not COLUMN.fullmatch(name) or kind not in COLUMN_KINDS:
            raise ValueError(f"a column {name!r:.40} of {kind!r:.40}")
    for shard in record.shards:
        if not SHARD_FILE.fullmatch(shard.file) or not HASH.fullmatch(shard.sha256):
            raise ValueError(f"a file {shard.file!r:.80} with the hash {shard.sha256!r:.80}")
        if not is_count(shard.rows, MAX_SAMPLES) or not is_count(shard.size, MAX_SIZE):
            raise ValueError(f"{shard.rows} rows in {shard.size} bytes")
        if shard.rows * record.channels * 2 > shard.size:
            raise ValueError(f"{shard.rows} rows of {record.channels} channels in {shard.size} bytes")
        if unknown := set(shard.columns) - set(record.columns):
            raise ValueError(f"{shard.file} has the unknown columns {sorted(unknown)!r:.80}")
        shard.living()
    if record.calibrations and record.channels > MOST_CALIBRATED:
        raise ValueError(f"calibrations of {record.channels} channels, more than {MOST_CALIBRATED}")
    for name, each in record.calibrations.items():
        if not ASKED.fullmatch(name) or not CALIBRATION_FILE.fullmatch(each.file) or not HASH.fullmatch(each.sha256):
            raise ValueError(f"a calibration {name!r:.80} in the file {each.file!r:.80}")
        if not is_count(each.pairs, MAX_SAMPLES) or not is_count(each.size, MAX_SIZE):
            raise ValueError(f"a calibration from {each.pairs} pairs in {each.size} bytes")
    if len({shard.file for shard in record.shards}) < len(record.shards):
        raise ValueError("a file is there twice")


def source_record(source: ModelSource) -> dict[str, Any]:
    """Which model of files it is, whatever numbers it is loaded in. Raises CheckpointError."""
    return {name: value for name, value in source.describe().items() if name not in ("dtype", "precision")}


def refuse_other(given: ModelRecord, own: ModelRecord, folder: Path) -> None:
    """Raise DataError unless both records are of the same model."""
    if found := own.difference(given):
        name = own.name or "a model that was made in memory"
        raise DataError(f"{folder} was made with {name}, and this is another model: {found}; use that one")


def check_weights(inputs: Mapping[str, Any], weights: Mapping[str, float] | None, draws: int = 1, by: str = "") -> None:
    """Raise ConfigError for weights of what is not given, or that are no numbers, GenerationError for no input."""
    if not inputs:
        raise GenerationError("a query needs an input, such as caption='a red car'")
    whole_number(draws, "draws", MOST_DRAWS)
    if weights is not None and not isinstance(weights, Mapping):
        raise ConfigError(f"weights are a dict such as {{'rgb': 1, 'caption': 0.5}}, got {brief(weights)}")
    for name, weight in (weights or {}).items():
        if name not in inputs:
            raise ConfigError(f"a weight is given for {name!r}, which is no input{nearest(str(name), inputs)}")
        weighed(weight, f"the weight of {name!r}", -HEAVIEST)
    if weights is None and by in inputs and len(inputs) > 1:
        raise ConfigError(f"{by!r} is given with other inputs: say how much each counts with weights")


def whole_number(value: object, what: str, most: int) -> int:
    """A whole number from 1 to `most`, of Python or numpy. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= (number := int(value)) <= most:
        raise ConfigError(f"{what} is a whole number from 1 to {most}, got {brief(value)}")
    return number


def write_index_record(record: IndexRecord, folder: Path) -> None:
    """Write what an index says of itself, whole or not at all. Raises DataError, also for what could not be read."""
    text = json.dumps({"kind": KIND, "format": FORMAT, **attrs.asdict(record)}, indent=2) + "\n"
    if len(text) > MAX_TEXT_BYTES:  # json writes ASCII
        raise DataError(
            f"{folder} would have {len(record.shards)} files, more than {INDEX} can list; begin another index, and add"
            " more rows at once"
        )
    write_text(text, folder / INDEX)


def begin(folder: Path, record: IndexRecord) -> None:
    """Write the record of a new index. Raises DataError if the folder holds something."""
    with system_errors(DataError, f"cannot write to {folder}"):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "an index" if (folder / INDEX).exists() else "other things"
            raise DataError(f"{folder} holds {what}; choose another folder")
        with only_writer(folder):
            write_index_record(record, folder)
