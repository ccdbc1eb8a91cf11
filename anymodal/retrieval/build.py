"""How a dataset becomes a part of an index: shard by shard, each a function of the data, the model and the settings.

Every dataset has a folder of its own in that of the index, named by the address it lies at, so that several can be made
one after the other, and each goes on where it was interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.config.validators import at_least, at_most, integer
from anymodal.data.digest import digest
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.jobs.inputs import Inputs, address, inputs_of
from anymodal.data.jobs.manifest import MANIFEST, Plan, versions
from anymodal.data.jobs.model_source import ModelSource
from anymodal.data.jobs.model_work import ModelWork
from anymodal.data.jobs.problems import Problem, told_apart
from anymodal.data.jobs.runner import Job, Summary, make_dataset
from anymodal.data.schema import MAX_SAMPLES, check_book, read_book
from anymodal.data.store.arrays import Spec, map_arrays, shard_name
from anymodal.errors import (
    AnymodalError,
    ConfigError,
    DataError,
    ValueProblem,
    brief,
    nearest,
    one_line,
    system_errors,
)
from anymodal.files import only_writer
from anymodal.nn.device import one_thread
from anymodal.plugins.guard import blame
from anymodal.retrieval.query import channels_of, drawn, model_record
from anymodal.retrieval.record import (
    INDEX,
    MOST_DRAWS,
    IndexRecord,
    ModelRecord,
    ShardRecord,
    check_index_folder,
    read_index_record,
    refuse_other,
    whole_number,
    write_index_record,
)
from anymodal.retrieval.shards import VECTORS, unit, write_shard

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel

PART_KIND, PART_FORMAT = "vectors", 1
MOST_BATCH = 65_536


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"a modality is named by a text, got {brief(value)}")
    return value


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"names of modalities are a list, got {brief(value)}")
    return tuple(map(_name, value))


@attrs.frozen
class Request:
    """Which vectors an index of a dataset holds.

    by: their modality.
    inputs: the modalities that they are predicted from, together; `by` itself for those that the data holds. By default
        these where the data holds some, else photographs.
    keep: modalities of text that hits carry along, such as captions.
    draws, seed: each vector is the mean of so many that are drawn from the seed.
    """

    by: str = attrs.field(converter=_name)
    inputs: tuple[str, ...] = attrs.field(default=(), converter=_names)
    keep: tuple[str, ...] = attrs.field(default=(), converter=_names)
    draws: int = attrs.field(default=1, converter=integer, validator=[at_least(1), at_most(MOST_DRAWS)])
    seed: int = attrs.field(default=0, converter=integer, validator=at_least(0))


@system_errors(DataError)
def index_dataset(
    data: str | Path,
    source: ModelSource,
    request: Request,
    out: str | Path,
    *,
    count: int | None = None,
    batch: int = 32,
    shard_size: int = 4096,
    executor: str = "local",
    workers: int | None = 1,
    max_bad: float = 0.01,
) -> Summary | None:
    """Make an index of a dataset, go on with it, or add the dataset to an index of the same model.

    Args:
        data: an aligned dataset: folders, tars, or an address of such.
        source: the model that makes the vectors, and that queries will need.
        request: which vectors.
        out: the folder of the index.
        count: only the first samples of the data.
        batch: samples that go through the model together.
        shard_size: samples that are finished together.
        executor: who works: "local", "ray", or "torchrun".
        workers: how many processes; None for one a GPU, or else a core.
        max_bad: the share of samples, in [0, 1], that may have problems, such as an input that is missing.

    Returns:
        How the run ended; None in processes of torchrun that do not lead.

    Raises:
        DataError: the folder holds an index of another model or modality, or other things; else as `tokenize_dataset`.
        GenerationError: the model does not make `by`, or its values are no vectors.
        ConfigError: a number that cannot be.
        AnymodalError: the model cannot be loaded.
    """
    folder = Path(out)
    check_index_folder(folder)
    part = f"part-{digest(address(str(data)))[:12]}"
    batch, shard_size = whole_number(batch, "batch", MOST_BATCH), whole_number(shard_size, "shard_size", MAX_SAMPLES)
    count = None if count is None else whole_number(count, "count", sys.maxsize)
    by, work = request.by, Indexing(source, str(data), request, folder / part, count, batch, shard_size)
    model = model_record(work.model, by, source)
    channels = channels_of(work.modality(by))
    if (folder / INDEX).exists():
        _check_same(read_index_record(folder), by, model, folder)
    work.share(workers, executor)
    summary = make_dataset(work, work.plan, executor=executor, workers=workers, max_bad=max_bad, what="indexing")
    if summary is not None:
        _enter(folder, part, IndexRecord(channels, by, model), work)
    return summary


def _check_same(record: IndexRecord, by: str, model: ModelRecord, folder: Path) -> None:
    """Raise DataError unless vectors of this model and modality go into the index."""
    if record.by != by:
        raise DataError(f"{folder} is an index by {record.by or 'no modality'!r}, not by {by!r}; choose another folder")
    refuse_other(model, record.model, folder)


def start_of(found: Sequence[str], by: str, model: AnyModel, data: str) -> str:
    """What vectors are made from by default: `by` itself where the data holds it, else photographs.

    Raises ConfigError where it holds neither.
    """
    photographs = (name for name in found if model.modalities[name].photographic)
    if start := by if by in found else next(photographs, ""):
        return start
    raise ConfigError(f"{data} has neither {by!r} nor photographs; say what to start from with --from")


def _enter(folder: Path, part: str, empty: IndexRecord, work: Indexing) -> None:
    """Write down what a part holds, in place of what it held before. Raises DataError."""
    path = folder / part / MANIFEST
    manifest = read_book(path)
    check_book(manifest, path)
    kinds = dict.fromkeys(work.keep, "text")
    with only_writer(folder):
        record = read_index_record(folder) if (folder / INDEX).exists() else empty
        _check_same(record, empty.by, empty.model, folder)
        before = {shard.file: shard for shard in record.shards}
        made: dict[str, ShardRecord] = {}
        for shard in range(len(work.counts)):
            name = f"{empty.by}/{shard_name(shard)}"
            known = manifest["files"][name]
            spec = {VECTORS: Spec("<f2", (None, empty.channels))}
            rows = len(map_arrays(folder / part / name, known["size"], spec)[VECTORS])
            file = f"{part}/{name}"
            fresh = ShardRecord(file, rows, known["size"], known["sha256"], manifest["inputs"]["data"], work.keep)
            old = before.get(file)
            made[file] = old if old is not None and old.sha256 == fresh.sha256 else fresh
        shards = [made.pop(shard.file, shard) for shard in record.shards]
        write_index_record(record.with_shards((*shards, *made.values()), kinds), folder)


class Indexing(ModelWork):
    """The work of indexing."""

    def __init__(
        self,
        source: ModelSource,
        data: str,
        request: Request,
        out: Path,
        count: int | None,
        batch: int,
        shard_size: int,
    ) -> None:
        super().__init__(source, shard_size)
        self.data, self.request, self.out, self.count, self.batch = data, request, out, count, batch
        self.by, self.keep = request.by, request.keep

    @property
    def samples(self) -> int:
        return len(self.values)

    @cached_property
    def values(self) -> ValueSource:
        """The dataset with all that vectors may be made from."""
        known = self.model.modalities.modalities
        for name in (*self.request.inputs, *self.keep, self.by):
            if name not in known:
                raise ConfigError(f"{self.source.name} has no modality {name!r}{nearest(name, known)}")
        for name in self.keep:
            if not known[name].is_text:
                raise ConfigError(f"{name!r} is not text: hits carry texts along, such as captions")
        asked = self.request.inputs or (self.by, *(name for name, each in known.items() if each.photographic))
        wanted = {*asked, *self.keep}
        sources = {source for name in wanted for source in known[name].derived_from if source in known}
        return open_values(self.data, [known[name] for name in known if name in wanted | sources], count=self.count)

    @cached_property
    def inputs_used(self) -> tuple[str, ...]:
        """The modalities that vectors are made from. Raises ConfigError where the data has none of them."""
        found = self.values.found
        if self.request.inputs:
            if lacking := [name for name in self.request.inputs if name not in found]:
                raise ConfigError(f"{self.data} has no {lacking[0]!r}; it has {', '.join(found)}")
            if self.by in self.request.inputs and len(self.request.inputs) > 1:
                raise ConfigError(f"{self.by!r} is what is indexed: give it alone, or leave it out")
            return self.request.inputs
        return (start_of(found, self.by, self.model, self.data),)

    def plan(self) -> Plan:
        names = self.values.names
        described = {
            "settings": self.modality(self.by).config(),
            "from": list(self.inputs_used),
            "keep": list(self.keep),
            "draws": self.request.draws,
            "seed": self.request.seed,
            "model": self.source.describe(),
        }
        return Plan(
            kind=PART_KIND,
            format=PART_FORMAT,
            settings={"samples": len(names), "names": digest(list(names)), "shard_size": self.shard_size},
            modalities={self.by: described},
            counts=self.counts,
            parts=[self.by],
            versions=versions(self.modality(name) for name in (*self.inputs_used, *self.keep, self.by)),
            data=address(self.data),
            inputs=self.inputs,
            passed_over=self.values.files.problems,
        )

    def inputs(self, shard: int) -> dict[str, Inputs]:
        """The files that a shard is made from."""
        return inputs_of(self.values.files, self.values.files.folders, self.rows(shard))

    def outputs(self, shard: int, part: str) -> dict[str, list[Path]]:
        name = f"{part}/{shard_name(shard)}"
        return {name: [self.out / name]}

    def open(self, device: str | None) -> ShardIndexer:
        self.move(device)
        return ShardIndexer(self)


@attrs.frozen
class ShardIndexer:
    """Makes the vectors of shards."""

    work: Indexing

    def inputs(self, shard: int) -> dict[str, Inputs]:
        return self.work.inputs(shard)

    def __call__(self, job: Job) -> Iterator[tuple[str, list[Problem]]]:
        """The part, when it is finished, with what was left out. Raises DataError."""
        work = self.work
        problems: list[Problem] = []
        vectors: list[np.ndarray] = []
        names: list[str] = []
        texts: dict[str, list[str]] = {name: [] for name in work.keep}
        rows = list(work.rows(job.shard))
        told = told_apart(work.values, rows)
        with one_thread(work.alone):
            for start in range(0, len(rows), work.batch):
                seen = dict(self._seen(rows[start : start + work.batch], told, problems))
                for row, found in self._vectors(list(seen), seen):
                    if isinstance(found, AnymodalError):
                        problems.append(Problem(told[row], work.by, one_line(found)))
                        continue
                    vectors.append(found)
                    names.append(work.values.names[row])
                    for name, column in texts.items():
                        column.append(seen[row].get(name, ""))
        channels = channels_of(work.modality(work.by))
        stacked = np.stack(vectors) if vectors else np.zeros((0, channels), np.float32)
        write_shard(work.out / work.by / shard_name(job.shard), stacked, names, texts)
        yield work.by, problems

    def _seen(
        self, rows: Sequence[int], told: Mapping[int, str], problems: list[Problem]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """What samples hold of the inputs, and the texts that are kept; those that lack an input are left out."""
        work = self.work
        for row in rows:
            try:
                values = work.values.read(row)
                for name in work.inputs_used:
                    if name not in values:
                        raise ValueProblem(f"there is no file of {name!r}")
                wanted = {*work.inputs_used, *work.keep}
                yield row, {name: value for name, value in values.items() if name in wanted}
            except AnymodalError as error:
                problems.append(Problem(told[row], work.by, one_line(error)))

    def _vectors(
        self, rows: Sequence[int], seen: Mapping[int, Mapping[str, Any]]
    ) -> list[tuple[int, np.ndarray | AnymodalError]]:
        """The vectors of samples, or the error that one raises alone."""
        work = self.work
        inputs: list[Mapping[str, Any]] = [{name: seen[row][name] for name in work.inputs_used} for row in rows]
        if not inputs:
            return []
        try:
            if work.inputs_used == (work.by,):
                with blame(work.modality(work.by), "accept"):
                    found = unit(np.stack([work.modality(work.by).accept(each[work.by]) for each in inputs]), work.by)
            else:
                found = drawn(work.model, inputs, work.by, work.request.draws, work.request.seed)
            return list(zip(rows, found, strict=True))
        except AnymodalError as error:
            if len(rows) == 1:
                return [(rows[0], error)]
            return [each for row in rows for each in self._vectors([row], seen)]
