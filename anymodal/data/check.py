"""What is wrong with a dataset, and what its tokens look like: all of it is read once.

Problems are counted by part and kind, with a few examples. Token statistics are computed while reading, so that memory
does not grow with the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.crops import stored_crop
from anymodal.data.files import storage
from anymodal.data.files.values import ValueSource
from anymodal.data.report import Findings, problem_line
from anymodal.data.sources.aligned import CROP_SETTINGS, AlignedFiles
from anymodal.data.sources.base import kind_of_dataset
from anymodal.data.sources.huggingface import RowSource
from anymodal.data.store.reader import TokenStore, read_stream
from anymodal.errors import AnymodalError, DataError
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.tokenizers.quantizers.usage import perplexity, usage
from anymodal.tokens import Layout
from anymodal.tokens.checks import unfit_tokens

Progress = Callable[[int], object]


@attrs.define
class TokenStatistics:
    """Tokens of a stream as they are counted: `counts` (size,) of its ids, and the lengths of its values."""

    size: int
    counts: np.ndarray = attrs.field(init=False)
    values: int = 0
    shortest: int = 0
    longest: int = 0

    def __attrs_post_init__(self) -> None:
        self.counts = np.zeros(self.size, np.int64)

    def add(self, ids: np.ndarray) -> None:
        """Count the ids (n,) of a value."""
        self.counts += np.bincount(ids, minlength=self.size)
        self.shortest = min(self.shortest, len(ids)) if self.values else len(ids)
        self.longest = max(self.longest, len(ids))
        self.values += 1

    def summary(self) -> dict[str, float]:
        """Ids there are, `usage` and `perplexity` as of a codebook, and the lengths of the values, in tokens."""
        return {
            "ids": self.size,
            "usage": usage(self.counts),
            "perplexity": perplexity(self.counts),
            "shortest": self.shortest,
            "longest": self.longest,
            "mean_length": int(self.counts.sum()) / max(self.values, 1),
        }


@attrs.frozen
class Report:
    """What a dataset holds, by part, and what is wrong with it."""

    kind: str
    samples: int
    counts: dict[str, int] = attrs.field(factory=dict)
    tokens: dict[str, TokenStatistics] = attrs.field(factory=dict)
    findings: Findings = attrs.field(factory=Findings)
    notes: list[str] = attrs.field(factory=list)


def check_dataset(
    path: str,
    modalities: Mapping[str, Modality] | None = None,
    names: Mapping[str, str] | None = None,
    count: int | None = None,
    begin: Callable[[int], Progress] = lambda samples: lambda done: None,
) -> Report:
    """Read a whole dataset, or its first `count` samples.

    `modalities` are those to look for, all installed ones by default; stored grids need those with their sizes. `begin`
    is called with the number of samples, and what it returns with the number of those just read. Raises DataError or
    ConfigError if the dataset cannot be opened at all.
    """
    kind = kind_of_dataset(path)
    if kind == "rows":
        return _check_rows(path, modalities, names or {}, count, begin)
    if kind == "tokens":
        return _check_tokens(path, count, begin)
    return _check_files(path, modalities, names or {}, count, begin)


def _check_tokens(path: str, count: int | None, begin: Callable[[int], Progress]) -> Report:
    store = TokenStore(path)
    layout = Layout(read_stream(raw) for raw in store.streams.values())
    report = Report("tokens", min(len(store), count or len(store)), dict.fromkeys(store.streams, 0))
    report.notes.append(f"{store.crops} crops of each sample")
    advance = begin(report.samples)
    for index in range(report.samples):
        for crop in range(store.crops):
            try:
                sample = store.sample(index, crop)
            except AnymodalError as error:
                report.findings.add("tokens", "not readable", str(error))
                break
            for name, tokens in sample.items():
                report.counts[name] += crop == 0
                _count_tokens(report, layout, name, tokens, f"sample {index} of {path}")
        advance(1)
    return report


def _count_tokens(report: Report, layout: Layout, name: str, tokens: np.ndarray, place: str) -> None:
    space = layout[name].space
    if wanted := unfit_tokens(layout, name, tokens):
        report.findings.add(name, "wrong tokens", f"{place} holds {tokens.dtype} of shape {tokens.shape}, not {wanted}")
    elif hasattr(space, "size"):
        report.tokens.setdefault(name, TokenStatistics(space.size)).add(tokens)


def _check_rows(
    path: str,
    modalities: Mapping[str, Modality] | None,
    names: Mapping[str, str],
    count: int | None,
    begin: Callable[[int], Progress],
) -> Report:
    """Columns without a modality are not read; tokens are counted where the modality has what makes them."""
    chosen = modalities or {name: registry().modality(name)() for name in registry().modalities()}
    layout = Layout(s for m in chosen.values() for s in m.streams())
    source = RowSource(DataConfig(path=path, names=names, count=count), chosen, layout)
    report = Report("rows", len(source), dict.fromkeys(source.columns, 0))
    advance, rng = begin(len(source)), np.random.default_rng(0)
    for index in range(len(source)):
        try:
            values = source.values(index)
            tokens = source.tokens({n: v for n, v in values.items() if _makes_tokens(chosen[n])}, rng)
        except Exception as error:  # of a damaged file that is told of in many ways
            report.findings.add("rows", "not usable", problem_line(source.describe(index), error))
        else:
            for name in values:
                report.counts[name] += 1
            for name, array in tokens.items():
                _count_tokens(report, layout, name, array, source.describe(index))
            if not values:
                report.findings.add("rows", "nothing in it", source.describe(index))
        advance(1)
    report.notes.append(f"read as {', '.join(f'{name} from {column}' for name, column in source.columns.items())}")
    return report


def _makes_tokens(modality: Modality) -> bool:
    return modality.spelled and modality.vocabulary is not None


def _check_files(
    path: str,
    modalities: Mapping[str, Modality] | None,
    names: Mapping[str, str],
    count: int | None,
    begin: Callable[[int], Progress],
) -> Report:
    chosen = modalities or found_modalities(path, names)
    layout = Layout(s for m in chosen.values() for s in m.streams())
    files = AlignedFiles(DataConfig(path=path, names=names, count=count), chosen, layout)
    if files.has_settings and modalities is None:
        raise DataError(f"{path} holds tokens of grids; say how large they are: --config MODEL.yaml")
    members = files.members
    stored = [part for part in (*files.parts, CROP_SETTINGS) if part in members.folders]
    report = Report(
        "tars" if members.shards else "folders", len(members), dict.fromkeys(stored, 0), findings=members.findings
    )
    if members.shards:
        report.notes.append(f"{len(members.shards)} shards")
    values, advance = ValueSource(members, chosen), begin(len(members))
    for index in range(len(members)):
        held = [part for part in stored if members.holds(part, index)]
        for part in held:
            report.counts[part] += 1
        if len(held) == 1 and len(stored) > 1:
            report.findings.add(held[0], "name found nowhere else", members.describe(index))
        _check_sample(report, files, values, index)
        advance(1)
    for part in stored:
        if lacking := len(members) - report.counts[part]:
            report.notes.append(f"{lacking} samples lack {part}, which is no problem")
    return report


def _check_sample(report: Report, files: AlignedFiles, values: ValueSource, index: int) -> None:
    """Read everything that a sample has."""
    settings, extent = np.empty((0, 5)), None
    if files.has_settings:
        try:
            settings = files.crop_settings(index)
        except AnymodalError as error:
            report.findings.add(CROP_SETTINGS, "not usable", str(error))
    for name, part in files.tokens_of(index).items():
        try:
            for row in files.stored(name, index, len(settings)) if len(settings) else ():
                _count_tokens(report, files.layout, part.stream, row, files.members.place(name, index))
        except AnymodalError as error:
            report.findings.add(name, "wrong tokens", str(error))
    for name, part in files.values_of(index).items():
        try:
            modality, value = part.modality, values.read_file(part.modality.name, index, name)
            modality.accept(value)
            extent = extent or modality.extent(value)
        except AnymodalError as error:
            kind = "not finite" if "NaN or infinite" in str(error) else "not readable"
            report.findings.add(name, kind, str(error))
    try:
        for row in range(len(settings)):
            stored_crop(settings, row, extent)
    except AnymodalError as error:
        report.findings.add(CROP_SETTINGS, "not within the picture", f"{files.members.describe(index)}: {error}")


def found_modalities(path: str, names: Mapping[str, str]) -> dict[str, Modality]:
    """The installed modalities that have a folder in a dataset, or to which `names` gives one. Raises DataError."""
    folders = {entry.name for entry in storage.entries(path) if entry.is_folder}
    asked = {name.partition(".")[0] for name in names} - {CROP_SETTINGS}
    known: Iterable[str] = registry().modalities()
    found: dict[str, Any] = {}
    for name in known:
        cls = registry().modality(name)
        if name in asked or folders & {name, *cls.folders}:
            found[name] = cls()
    if not found:
        seen = ", ".join(sorted(folders)) or "none"
        raise DataError(
            f"{path} has no folder of an installed modality; its folders: {seen} (--name MODALITY=FOLDER says which is"
            " which; pictures alone become a dataset with: anymodal label)"
        )
    return found


def as_json(report: Report, path: str | Path) -> dict[str, Any]:
    """The report for programs."""
    return {
        "data": str(path),
        "kind": report.kind,
        "samples": report.samples,
        "counts": report.counts,
        "tokens": {name: statistics.summary() for name, statistics in report.tokens.items()},
        "notes": report.notes,
        "problems": [attrs.asdict(finding) for finding in report.findings],
    }
