"""Rows of Hugging Face `datasets`, above all for text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.crops import center_crops
from anymodal.data.config import DataConfig
from anymodal.data.files import storage
from anymodal.data.files.values import unfinite
from anymodal.data.report import Report, problem_line
from anymodal.data.sources.base import (
    Begin,
    DataLayout,
    Source,
    Tokens,
    installed,
    layout_of,
    streams_of,
    tokenized,
)
from anymodal.errors import ConfigError, DataError, ValueProblem, nearest, one_line
from anymodal.modality import Modality
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
        here = not storage.is_remote(path)
        return here and (path.endswith(tuple(READERS)) or any(Path(path, name).is_file() for name in SAVED))

    def open(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> Source:
        return RowSource(config, modalities, layout)

    def check(self, config: DataConfig, modalities: Mapping[str, Modality] | None, begin: Begin) -> Report:
        """Read the columns that belong to a modality; tokens are counted where it has what makes them."""
        chosen = modalities or installed()
        layout = layout_of(chosen)
        source = RowSource(config, chosen, layout)
        report = Report("rows", len(source), dict.fromkeys(source.columns, 0))
        advance, rng = begin(len(source)), np.random.default_rng(0)
        for index in range(len(source)):
            try:
                values = source.values(index)
                tokens = source.tokens({n: v for n, v in values.items() if _makes_tokens(chosen[n])}, rng)
            except Exception as error:  # damaged files make libraries and plugins fail in many ways
                report.problems.add("rows", "not usable", problem_line(source.describe(index), error))
            else:
                for name in values:
                    report.counts[name] += 1
                for name, array in tokens.items():
                    report.add_tokens(layout, name, array, source.describe(index))
                if not values:
                    report.problems.add("rows", "nothing in it", source.describe(index))
            advance(1)
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
        self.rows = self.rows.select_columns(sorted(set(self.columns.values())))
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
            row: dict[str, Any] = self.rows[index]
        except Exception as error:  # of a library that decodes many formats
            reason = f"{type(error).__name__}: {one_line(error, 200)}"
            raise DataError(f"{self.describe(index)} cannot be read: {reason}") from None
        return row

    def _value(self, name: str, raw: Any, index: int) -> Any:
        modality = self.modalities[name]
        if isinstance(raw, (str, Path)) and not modality.is_text:
            raise ValueProblem(f"{name} is text in {self.describe(index)}; a row never names a file")
        try:
            value = modality.accept(raw)
        except ValueProblem as error:
            raise ValueProblem(f"{self.describe(index)}: {error}") from None
        if wrong := unfinite(value):
            raise ValueProblem(f"{name} holds {wrong} in {self.describe(index)}")
        return value

    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        return self.tokens(self.values(index), rng)

    def tokens(self, values: Mapping[str, Any], rng: np.random.Generator) -> Tokens:
        """The tokens of natural values, of pictures the centered square."""
        crops = center_crops({name: self.modalities[name].extent(value) for name, value in values.items()})
        tokens: Tokens = {}
        for name, value in values.items():
            modality = self.modalities[name]
            cut = modality.crop(value, crops[name])
            tokens |= tokenized(modality, cut, streams_of(modality, self.layout), self.layout, rng)
        return tokens


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
