"""Rows of Hugging Face `datasets`, above all for text."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.content import file_in_memory, likely_ending
from anymodal.crops import center_crops
from anymodal.data.config import DataConfig
from anymodal.data.files import storage
from anymodal.data.files.alignment import misaligned
from anymodal.data.files.values import unfinite
from anymodal.data.looking import Looking
from anymodal.data.report import Report, problem_line
from anymodal.data.sources.base import (
    Begin,
    DataLayout,
    Source,
    Tokens,
    installed,
    layout_of,
    spread,
    streams_of,
    tokenized,
)
from anymodal.errors import AnymodalError, ConfigError, DataError, ValueProblem, nearest, one_line
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.tokens import Layout

READERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}
SAVED = ("dataset_dict.json", "dataset_info.json")  # in a folder that `save_to_disk` wrote


@attrs.frozen
class HuggingFaceRows(DataLayout):
    """A dataset of the Hub, a file of rows, or a saved folder."""

    name: str = attrs.field(init=False, default="rows")
    description: ClassVar[str] = "rows of Hugging Face datasets: hf:NAME, a .parquet or .json file, a saved folder"

    def recognizes(self, path: str) -> bool:
        if path.startswith("hf:") and not path.startswith("hf://"):
            return True
        if storage.is_remote(path):
            return False
        try:
            return path.endswith(tuple(READERS)) or any(Path(path, name).is_file() for name in SAVED)
        except (OSError, ValueError):  # a folder that may not be searched is no dataset of this kind
            return False

    def open(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> Source:
        return RowSource(config, modalities, layout)

    def look(
        self, config: DataConfig, modalities: Mapping[str, Modality] | None, count: int
    ) -> Iterator[tuple[str, dict[str, tuple[Modality, Any]]]]:
        chosen = modalities or installed()
        source = RowSource(config, chosen, layout_of(chosen))
        for index in spread(len(source), count):
            with suppress(AnymodalError):  # the check says what cannot be read
                yield f"row {index}", {name: (chosen[name], value) for name, value in source.values(index).items()}

    def check(self, config: DataConfig, modalities: Mapping[str, Modality] | None, begin: Begin) -> Report:
        """Read the columns that belong to a modality; tokens are counted where it has what makes them."""
        chosen = modalities or installed()
        layout = layout_of(chosen)
        source = RowSource(config, chosen, layout)
        report = Report("rows", len(source), dict.fromkeys(source.columns, 0))
        advance, rng, looking = begin(len(source)), np.random.default_rng(0), Looking(report)
        for index in range(len(source)):
            try:
                values = source.values(index)
                tokens = source.tokens({n: v for n, v in values.items() if _makes_tokens(chosen[n])}, rng)
            except Exception as error:  # damaged files make libraries and plugins fail in many ways
                report.problems.add("rows", "not usable", problem_line(source.describe(index), error))
            else:
                looking.add(source.describe(index), {name: (chosen[name], value) for name, value in values.items()})
                for name in values:
                    report.counts[name] += 1
                for name, array in tokens.items():
                    report.add_tokens(layout, name, array, source.describe(index))
                if not values:
                    report.problems.add("rows", "nothing in it", source.describe(index))
            advance(1)
        looking.finish()
        report.notes.append(f"read as {', '.join(f'{name} from {column}' for name, column in source.columns.items())}")
        return report


def _makes_tokens(modality: Modality) -> bool:
    return modality.spelled and modality.vocabulary is not None


class RowSource(Source):
    """A column for each modality; those without a column are not used. A row may lack values (None)."""

    def __init__(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> None:
        if config.crop is not None:
            raise ConfigError(f"{config.path}: rows are not cropped, so leave out crop")
        self.path, self.layout = config.path, layout
        self.rows = load_rows(config.path)
        if not len(self.rows):
            raise DataError(f"{config.path} has no rows")
        self.count = min(len(self.rows), config.count or len(self.rows))
        columns = list(self.rows.column_names)
        for name, column in config.names.items():
            if name not in modalities:
                raise ConfigError(f"names has {name!r}, which is no modality of the set{nearest(name, modalities)}")
            if column not in columns:
                raise DataError(f"{config.path} has no column {column!r}{nearest(column, columns)} (for {name})")
        wanted = {name: config.names.get(name, name) for name in modalities}
        self.columns = {name: column for name, column in wanted.items() if column in columns}
        if not self.columns:
            texts = [name for name, modality in modalities.items() if modality.is_text]
            raise DataError(
                f"{config.path} has the columns {', '.join(columns)}; say which is which, for example"
                f" names: {{{[*texts, *modalities][0]}: {columns[0]}}}"
            )
        for name, column in self.columns.items():
            kind = str(getattr(self.rows.features[column], "dtype", ""))
            if modalities[name].is_text and kind.startswith(("timestamp", "date", "time")):
                raise DataError(
                    f"{config.path} holds dates in {column!r}, not text for {name}: JSON texts that all look like dates"
                    " are read as such; save the rows as .parquet"
                )
        self.rows = undecoded(self.rows.select_columns(sorted(set(self.columns.values()))))
        self.tables = self.rows.with_format("arrow")
        self.modalities = {name: modalities[name] for name in self.columns}
        self.streams = frozenset().union(*(streams_of(m, layout) for m in self.modalities.values()))

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        return f"row {index} of {self.path}"

    def values(self, index: int) -> dict[str, Any]:
        """The natural values of a row by modality, as they are. Raises ValueProblem, DataError or PluginError."""
        row = self._row(index)
        held = {name: row[column] for name, column in self.columns.items() if row[column] is not None}
        return {name: self._value(name, raw, index) for name, raw in held.items()}

    def _row(self, index: int) -> dict[str, Any]:
        try:
            self.tables[index].validate(full=True)  # an offset that points outside of the file would end the process
            row: dict[str, Any] = self.rows[index]
        except Exception as error:  # of a library that decodes many formats
            reason = f"{type(error).__name__}: {one_line(error, 200)}"
            raise DataError(f"{self.describe(index)} cannot be read: {reason}") from None
        return row

    def _value(self, name: str, raw: Any, index: int) -> Any:
        modality, raw = self.modalities[name], without_nulls(raw)
        content = content_of(raw)
        if content is None and not modality.is_text and (isinstance(raw, (str, Path)) or is_file(raw)):
            raise ValueProblem(f"{name} is text in {self.describe(index)}; a row never names a file")
        try:
            value = modality.accept(raw) if content is None else read_content(modality, content, ending_of(raw))
        except ValueProblem as error:
            raise ValueProblem(f"{self.describe(index)}: {error}") from None
        if wrong := unfinite(value, nan=not modality.nan_is_missing):
            raise ValueProblem(f"{name} holds {wrong} in {self.describe(index)}")
        return value

    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        return self.tokens(self.values(index), rng)

    def tokens(self, values: Mapping[str, Any], rng: np.random.Generator) -> Tokens:
        """The tokens of natural values, of pictures the centered square.

        Raises ValueProblem for values that do not show the same picture.
        """
        extents = {name: self.modalities[name].extent(value) for name, value in values.items()}
        if found := misaligned(extents, self.modalities):
            raise ValueProblem(found[1])
        crops = center_crops(extents)
        tokens: Tokens = {}
        for name, value in values.items():
            modality = self.modalities[name]
            cut = modality.crop(value, crops[name])
            tokens |= tokenized(modality, cut, streams_of(modality, self.layout), self.layout, rng)
        return tokens


def undecoded(rows: Any) -> Any:
    """The rows, with pictures, sounds and other files as the bytes that they are.

    The library would decode them with whatever it finds, and open the paths and addresses that rows name.
    """
    for column, feature in dict(rows.features).items():
        plain = _undecoded(feature)
        if plain != feature:
            rows = rows.cast_column(column, plain)
    return rows


def _undecoded(feature: Any) -> Any:
    """A type of a column in which nothing is decoded from files."""
    if isinstance(feature, dict):
        return {name: _undecoded(each) for name, each in feature.items()}
    if isinstance(feature, list):
        return [_undecoded(each) for each in feature]
    if hasattr(feature, "feature"):
        changed = copy.copy(feature)
        changed.feature = _undecoded(feature.feature)
        return changed
    if getattr(feature, "decode", False) is True:
        changed = copy.copy(feature)
        changed.decode = False
        return changed
    return feature


def without_nulls(raw: Any) -> Any:
    """A value of a row without fields that are null: every row of a table has all fields, null stands for none."""
    if isinstance(raw, Mapping):
        return {name: without_nulls(each) for name, each in raw.items() if each is not None}
    return [without_nulls(each) for each in raw] if isinstance(raw, list) else raw


def is_file(raw: Any) -> bool:
    """Whether a value is what the library stores of a file: its bytes, its path, or both."""
    return isinstance(raw, Mapping) and bool(raw) and raw.keys() <= {"bytes", "path"}


def content_of(raw: Any) -> bytes | None:
    """The content of a file that is stored in a row; None where there is none."""
    found = raw.get("bytes") if is_file(raw) else raw
    return found if isinstance(found, bytes) else None


def ending_of(raw: Any) -> str:
    """The ending of the name beside the content, in lower case; only a hint, for the name is never opened."""
    name = raw.get("path") if isinstance(raw, Mapping) else None
    return Path(name).suffix.lower() if isinstance(name, str) else ""


def read_content(modality: Modality, content: bytes, ending: str) -> Any:
    """The natural value of a file's content, read as files are. Raises ValueProblem or DataError."""
    if ending not in modality.suffixes:
        ending = likely_ending(content, modality.suffixes)
    with file_in_memory(content, ending) as path, blame(modality, "read"):
        try:
            return modality.read(path)
        except ValueProblem as error:
            raise ValueProblem(str(error).replace(str(path), f"its {ending} file")) from None


def load_rows(path: str) -> Any:
    """The rows of a path as `DataConfig` explains it, read through memory maps. Raises DataError."""
    try:
        import datasets
    except ImportError:
        raise DataError(f"{path} needs Hugging Face datasets: pip install 'anymodal[data]'") from None
    try:
        if path.startswith("hf:"):
            name, config, split = _parts(path.removeprefix("hf:"))
            return datasets.load_dataset(name, config, split=split)
        if Path(path).is_dir():
            return _one(datasets.load_from_disk(path), path)
        if not Path(path).is_file():
            raise DataError(f"no such file: {path}")
        return datasets.load_dataset(READERS[Path(path).suffix], data_files=path, split="train")
    except DataError:
        raise
    except Exception as error:  # of a library that reads many formats, and the Hub
        cause = error.__cause__ or error
        raise DataError(f"{path} cannot be read as a dataset: {type(cause).__name__}: {one_line(cause, 200)}") from None


def _parts(name: str) -> tuple[str, str | None, str]:
    """NAME[:SPLIT] or NAME:CONFIG:SPLIT as name, configuration and split."""
    parts = name.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise DataError(f"hf:{name} is not of the form hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT")
    return parts[0], parts[1] if len(parts) == 3 else None, parts[-1] if len(parts) > 1 else "train"


def _one(loaded: Any, path: str) -> Any:
    """The rows of what was saved: one split, or the one named train."""
    if not isinstance(loaded, dict):
        return loaded
    if "train" in loaded:
        return loaded["train"]
    if len(loaded) == 1:
        return next(iter(loaded.values()))
    raise DataError(f"{path} has the splits {', '.join(loaded)}; name the folder of one of them")
