"""How pictures become an aligned multimodal dataset: labelers make the values of other modalities, shard by shard.

Everything a label is made from is carried along, and labels are made from what was written, not from what was in
memory: what a shard holds does not depend on how often a run was interrupted.
"""

from __future__ import annotations

import functools
import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal import __version__
from anymodal.config.arguments import COUNT, DICT, PLACE, takes
from anymodal.data.digest import digest
from anymodal.data.files import storage
from anymodal.data.files.names import refusal
from anymodal.data.files.open import names_of_parts
from anymodal.data.files.values import ValueSource, open_values, unfinite
from anymodal.data.jobs.inputs import Inputs, address, inputs_of
from anymodal.data.jobs.labelers import Chosen, find_labeler, load_labeler, ordered
from anymodal.data.jobs.manifest import MANIFEST, Plan
from anymodal.data.jobs.model_labeler import PICTURE, named_model
from anymodal.data.jobs.model_source import ModelSource
from anymodal.data.jobs.outputs import (
    ShardFiles,
    check_layout,
    file_of,
    member_name,
    noting,
    paths,
    remove_earlier,
    write_files,
)
from anymodal.data.jobs.problems import Problem
from anymodal.data.jobs.receipts import RECORDS, checksum
from anymodal.data.jobs.runner import Job, Summary, make_dataset
from anymodal.data.schema import check_book, read_book
from anymodal.durable import scratch
from anymodal.errors import (
    AnymodalError,
    ConfigError,
    DataError,
    PluginError,
    ValueProblem,
    cause,
    counted,
    nearest,
    one_line,
    system_errors,
)
from anymodal.families.descriptions import stating
from anymodal.labeler import Labeler
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.plugins.registry import registry

FORMAT = 1
KIND = "values"


@takes(data=PLACE, out=PLACE, count=COUNT, batch=COUNT, shard_size=COUNT, labelers=DICT, settings=DICT)
@system_errors(DataError)
def label_dataset(
    data: str | Path,
    labelers: Mapping[str, str | None],
    out: Path,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    layout: str = "tars",
    shard_size: int = 1000,
    count: int | None = None,
    batch: int = 8,
    executor: str = "local",
    workers: int | None = 1,
    max_bad: float = 0.01,
) -> Summary | None:
    """Label the pictures of `data` into `out`, or go on with it, or add modalities to it.

    Args:
        data: an aligned dataset with pictures, or a bare folder of them.
        labelers: names of labelers, or of the modalities that they make, with checkpoints (None: their own); or
            MODEL:MODALITY for what a model of ours makes.
        out: the folder of the dataset.
        settings: those of modalities, such as the range that their files hold.
        layout: "tars" for sharded tars, "folder" for a file a sample.
        shard_size: samples a shard, of data in folders; tars keep their shards.
        count: only the first pictures.
        batch: samples that are labeled together.
        executor: who works: "local", "ray", or "torchrun".
        workers: how many processes; None for one a GPU, or else a core.
        max_bad: the share of samples, in [0, 1], that may have problems.

    Returns:
        How the run ended; None in processes of torchrun that do not lead.

    Raises:
        DataError: as `tokenize_dataset`.
        ConfigError: a labeler needs what neither the data nor another labeler has, or a name or setting is unknown.
    """
    check_layout(layout)
    open_pictures.cache_clear()  # the folder may have changed
    out = Path(out)
    chosen = ordered([find_labeler(name, checkpoint) for name, checkpoint in labelers.items()])
    carried = _carried(chosen, out)
    named = {*carried, *(labeler.modality for labeler in chosen)}
    for name in settings or {}:
        if name not in named:
            raise ConfigError(f"settings are given for {name!r}, which is not made{nearest(name, named)}")
    models = {each.modality: named_model(each.name) for each in chosen}
    stated = {name: ModelSource(found[0]).settings_of(name) for name, found in models.items() if found}
    merged = {name: {**stated.get(name, {}), **(settings or {}).get(name, {})} for name in {*stated, *(settings or {})}}
    given = tuple((name, tuple(sorted(each.items()))) for name, each in sorted(merged.items()))
    work = Labeling(str(data), out, carried, tuple(chosen), given, layout, shard_size, count, batch)
    return make_dataset(
        work,
        work.plan,
        executor=executor,
        workers=workers,
        max_bad=max_bad,
        what="labeling",
    )


def _carried(labelers: Sequence[Chosen], out: Path) -> tuple[str, ...]:
    """The modalities that are copied: pictures, which give the order of the samples, and what else labels are from."""
    sources = {source for labeler in labelers for source in labeler.sources}
    made = {labeler.modality for labeler in labelers}
    return (PICTURE, *sorted(sources - made - labeled_earlier(out) - {PICTURE}))


def labeled_earlier(out: Path) -> set[str]:
    """The modalities of a finished dataset that labelers made."""
    try:
        there = (out / MANIFEST).exists()
    except OSError as error:
        raise DataError(f"{out} cannot be used: {cause(error)}") from None
    known = read_book(out / MANIFEST) if there else {}
    if known.get("kind") != KIND:
        return set()
    check_book(known, out / MANIFEST)
    return {name for name, each in known["modalities"].items() if each.get("labeler")}


@attrs.frozen
class Labeling:
    """The work of labeling, as it travels to other processes; hashable, so that each opens its pictures once."""

    data: str
    out: Path
    carried: tuple[str, ...]
    labelers: tuple[Chosen, ...]
    settings: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
    layout: str
    shard_size: int
    count: int | None
    batch: int

    def plan(self) -> Plan:
        self._check_sources()
        names = [self.names(shard) for shard in range(len(self.counts))]
        for each in names if self.layout == "tars" else [[name for some in names for name in some]]:
            self._check_names(each)
        settings = {"samples": sum(self.counts), "names": digest(names), "layout": self.layout}
        return Plan(
            kind=KIND,
            format=FORMAT,
            settings=settings,
            modalities={
                **{name: {"labeler": None, "settings": self.modality(name).config()} for name in self.carried},
                **{each.modality: self._describe(each) for each in self.labelers},
            },
            counts=self.counts,
            parts=[*self.carried, *(each.modality for each in self.labelers)],
            versions={"anymodal": __version__, **self._versions()},
            data=address(self.data),
            inputs=self.inputs,
            passed_over=open_pictures(self).source.files.problems,
        )

    def _check_sources(self) -> None:
        """Raise ConfigError if the data lacks what labels are made from."""
        for name in self.carried:
            if name not in open_pictures(self).source.files.folders:
                users = [each.name for each in self.labelers if name in each.sources]
                raise ConfigError(f"{users[0]} needs {name!r}, which {self.data} does not have; add --with {name}")

    def _check_names(self, names: Sequence[str]) -> None:
        """Raise DataError if two samples would get the same file, or one a file elsewhere."""
        seen: dict[str, str] = {}
        for name in names:
            if refused := refusal(self.data, name):
                raise DataError(refused)
            key = posixpath.normpath(member_name(name) if self.layout == "tars" else name)
            if key in seen:
                hint = "rename one of them" if seen[key] != name else "keep them apart with --layout tars"
                raise DataError(f"the samples {seen[key]!r} and {name!r} of {self.data} would be one; {hint}")
            seen[key] = name

    def _describe(self, each: Chosen) -> dict[str, Any]:
        checkpoint = each.checkpoint
        if found := named_model(each.name):
            settings = self.modality(each.modality).config()
            return {"labeler": each.name, "checkpoint": ModelSource(found[0]).describe(), "settings": settings}
        if checkpoint is None and each.name in registry().labelers():
            checkpoint = registry().labeler(each.name).checkpoint
        place = Path(str(checkpoint))
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        weights = attrs.asdict(checksum(files)) if place.exists() and files else None
        return {
            "labeler": each.name,
            "checkpoint": checkpoint,
            "weights": weights,
            "settings": self.modality(each.modality).config(),
        }

    def _versions(self) -> dict[str, str]:
        known = registry().labelers()
        plugins = [known[each.name] for each in self.labelers if each.name in known]
        return {plugin.distribution: plugin.version for plugin in plugins if plugin.distribution}

    @property
    def counts(self) -> list[int]:
        """The samples of each shard."""
        return [len(rows) for rows in open_pictures(self).rows]

    def modality(self, name: str) -> Modality:
        return registry().modality(name)(**self.given(name))

    def given(self, name: str) -> dict[str, Any]:
        """The settings of a modality that were asked for."""
        return dict(dict(self.settings).get(name, ()))

    def inputs(self, shard: int) -> dict[str, Inputs]:
        """The files of the data that a shard is made from."""
        pictures = open_pictures(self)
        return inputs_of(pictures.source.files, self.carried, pictures.rows[shard])

    def names(self, shard: int) -> list[str]:
        """The names of the samples of a shard."""
        pictures = open_pictures(self)
        return [pictures.source.names[row] for row in pictures.rows[shard]]

    def outputs(self, shard: int, part: str) -> dict[str, list[Path]]:
        names = self.names(shard) if self.layout == "folder" else []
        return paths(self.out, self.layout, self.modality(part), shard, names)

    def open(self, device: str | None) -> ShardLabeler:
        return ShardLabeler(self, device)


@attrs.frozen(eq=False)
class Pictures:
    """What is labeled: the samples that have a picture, by shard; tars keep their shards."""

    source: ValueSource
    rows: list[list[int]]


@functools.lru_cache(2)
def open_pictures(work: Labeling) -> Pictures:
    """The pictures of an aligned dataset, or of a folder that holds nothing else."""
    modalities = [work.modality(name) for name in work.carried]
    names_of_parts(work.data)  # there has to be such a place
    none = DataError(
        f"{work.data} has no pictures: neither a folder {PICTURE} nor files {', '.join(modalities[0].suffixes)}"
    )
    try:
        source = open_values(work.data, modalities)
    except DataError as error:
        above, _, last = _plain(work.data).rpartition("/")
        if work.carried != (PICTURE,) or not last:
            raise
        try:
            source = open_values(above or "/", modalities, names={PICTURE: last})
        except DataError:
            raise (error if "that can be used" in str(error) else none) from None
    have = [row for row in range(len(source)) if source.files.holds(PICTURE, row)][: work.count]
    if not have:
        raise none
    if not source.shards:
        return Pictures(source, [have[k : k + work.shard_size] for k in range(0, len(have), work.shard_size)])
    shards = [have[bisect_left(have, s.start) : bisect_left(have, s.stop)] for s in source.shards]
    return Pictures(source, [rows for rows in shards if rows])


def _plain(place: str) -> str:
    """A place that ends in its own name: `.` and `photos/..` are folders with other names."""
    return place.rstrip("/") if storage.is_remote(place) else str(Path(place).resolve())


class ShardLabeler:
    """Makes the parts of shards; a labeler is loaded when it is first needed, and kept."""

    def __init__(self, work: Labeling, device: str | None) -> None:
        self.work, self.device = work, device
        self.labelers = {each.modality: each for each in work.labelers}
        self._loaded: dict[str, Labeler] = {}

    def inputs(self, shard: int) -> dict[str, Inputs]:
        return self.work.inputs(shard)

    def __call__(self, job: Job) -> Iterator[tuple[str, list[Problem]]]:
        """The parts that are finished one after the other, each with what was left out. Raises DataError."""
        for part in job.parts:
            problems: list[Problem] = []
            written: set[tuple[str, str]] = set()
            with scratch(self.work.out / RECORDS, "value-") as folder:
                made = part in self.labelers
                found = self._labels(part, job, folder, problems) if made else self._copies(part, job, problems)
                write_files(self.work.out, self.work.layout, part, job.shard, noting(found, written))
            if self.work.layout == "folder":
                remove_earlier(self.work.out, self.work.modality(part), self.work.names(job.shard), written)
            yield part, problems

    def _copies(self, name: str, job: Job, problems: list[Problem]) -> Iterator[tuple[str, str, bytes]]:
        """The files of the data that can be read, as they are."""
        pictures = open_pictures(self.work)
        source, files = pictures.source, pictures.source.files
        for row in pictures.rows[job.shard]:
            sample = source.names[row]
            if not files.holds(name, row):
                continue
            try:
                with blame(source.modalities[name], "read"):
                    source.read_file(name, row)
                yield sample, files.suffix(name, row), files.read(name, row)
            except AnymodalError as error:
                problems.append(Problem(sample, name, one_line(error)))

    def _labels(self, name: str, job: Job, folder: Path, problems: list[Problem]) -> Iterator[tuple[str, str, bytes]]:
        """The files of a modality that a labeler makes from those of its sources; values are written in `folder`."""
        work, chosen, modality = self.work, self.labelers[name], self.work.modality(name)
        if name not in self._loaded:
            self._loaded[name] = load_labeler(chosen, self.device)
            self._loaded[name].settings = work.given(name)
        names = work.names(job.shard)
        sources = [ShardFiles(work.out, work.layout, work.modality(s), job.shard, names) for s in chosen.sources]
        usable = [sample for sample in names if all(source.holds(sample) for source in sources)]
        for start in range(0, len(usable), work.batch):
            batch = usable[start : start + work.batch]
            samples = [{source.modality.name: source.read(sample) for source in sources} for sample in batch]
            for sample, value in zip(batch, self._label(name, samples), strict=True):
                try:
                    if isinstance(value, AnymodalError):
                        raise value
                    self._check(modality, value)
                    with blame(modality, "write", value), stating(unit=self._loaded[name].unit):
                        suffix, content = file_of(modality, value, folder)
                except ConfigError:
                    raise
                except AnymodalError as error:
                    problems.append(Problem(sample, name, one_line(error)))
                else:
                    yield sample, suffix, content

    def _label(self, name: str, samples: list[dict[str, Any]]) -> list[Any]:
        """A value a sample, or the error that its labeler raised."""
        labeler = self._loaded[name]
        try:
            values = labeler.label(samples)
            if len(values) != len(samples):
                raise PluginError(
                    f"the labeler of {name!r} made {counted(len(values), 'value')} of {counted(len(samples), 'sample')}"
                )
            return list(values)
        except Exception as error:
            if len(samples) > 1:
                return [value for sample in samples for value in self._label(name, [sample])]
            if isinstance(error, AnymodalError):
                return [error]
            return [PluginError(f"the labeler of {name!r} failed: {type(error).__name__}: {error}")]

    def _check(self, modality: Modality, value: Any) -> None:
        """Raise ValueProblem for a value that cannot be used, ConfigError for settings that files would cut off."""
        if wrong := unfinite(value, nan=not modality.nan_is_missing):
            raise ValueProblem(f"the label holds {wrong}")
        given = self.work.given(modality.name)
        if modality.file_range is None or "high" in given:
            return
        (low, high), array = modality.file_range, np.asarray(value)
        array = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        slack = 0.01 * (high - low)
        if array.dtype.kind == "f" and array.size and not low - slack <= array.min() <= array.max() <= high + slack:
            reach = f"reach from {array.min():.3g} to {array.max():.3g}, and its files hold {low:g} to {high:g}"
            name = modality.name
            raise ConfigError(f"labels of {name!r} {reach}; say what they shall hold with --set {name}.high=NUMBER")
