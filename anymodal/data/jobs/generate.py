"""How a model makes an aligned dataset of files: what it saw and what it generated, shard by shard.

Every shard is made in the same batches with the seeds of its samples, so that what it holds does not depend on how
often a run was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.data.digest import digest
from anymodal.data.files.listed import ListedFiles
from anymodal.data.files.values import ValueSource, unfinite
from anymodal.data.jobs.inputs import Inputs, inputs_of
from anymodal.data.jobs.label import FORMAT, KIND
from anymodal.data.jobs.manifest import Plan, versions
from anymodal.data.jobs.model_source import ModelSource
from anymodal.data.jobs.model_work import ModelWork
from anymodal.data.jobs.outputs import File, file_of, noting, paths, remove_earlier, write_files
from anymodal.data.jobs.problems import Problem
from anymodal.data.jobs.receipts import RECORDS, checksum
from anymodal.data.jobs.runner import Job, Summary, make_dataset
from anymodal.durable import scratch
from anymodal.errors import AnymodalError, GenerationError, ValueProblem, one_line
from anymodal.generation.keeping import (
    Keep,
    Start,
    check_keep,
    cut_beside,
    cut_mask,
    kept_for_each,
    read_once,
    seen_once,
    seen_parts,
)
from anymodal.generation.plan import Weights, chained, chosen_targets, make_plan
from anymodal.nn.device import one_thread
from anymodal.plugins.guard import blame
from anymodal.sampling import SamplingOptions

if TYPE_CHECKING:
    import numpy as np

LAYOUT = "folder"
MASKS = ".keep"  # after the name of a modality: the part that holds its masks
BEGUN = ".start"  # and what its values begin with


@attrs.frozen
class Request:
    """What is generated of every sample, and how; see `AnyModel.generate`.

    `targets` are names of modalities, or "all", without those named after a minus; `common` and `options` are sampling
    options of all of them and of single ones. Sample number i uses the seed `seed` + i. `chain` is as for
    `AnyModel.generate`. `keep` is what stays of targets that are inputs too, and `start` what sequences begin
    with, the same of every sample.
    """

    targets: tuple[str, ...]
    seed: int = 0
    weights: Weights | None = None
    options: Mapping[str, SamplingOptions] = attrs.field(factory=dict)
    common: SamplingOptions = attrs.field(factory=SamplingOptions)
    chain: bool | None = None
    keep: Keep = attrs.field(factory=dict)
    start: Start = attrs.field(factory=dict)


def generate_dataset(
    source: ModelSource,
    files: Mapping[str, Mapping[str, str]],
    request: Request,
    out: Path,
    *,
    texts: Mapping[str, str] | None = None,
    masks: Mapping[str, Mapping[str, str]] | None = None,
    batch: int = 16,
    shard_size: int = 64,
    executor: str = "local",
    workers: int | None = 1,
    max_bad: float = 0.01,
) -> Summary | None:
    """Generate modalities from files into an aligned folder `out`, or go on with it, or add modalities to it.

    What the model saw of the inputs, the centered square at its size, is written beside what it generated; of a target
    of which a part is kept, the value with that part.

    Args:
        source: the model.
        files: by modality, the paths of the inputs by the name of the sample.
        request: what is generated, and how.
        out: the folder of the dataset.
        texts: by modality, inputs that are the same for all samples.
        masks: by modality, the paths of masks of what is kept of its pictures, by the name of the sample.
        batch: samples that go through the model together.
        shard_size: samples that are finished together; an interrupted run loses no more than these.
        executor: as for `tokenize_dataset`.
        workers: as for `tokenize_dataset`.
        max_bad: as for `tokenize_dataset`.

    Returns:
        How the run ended; None in processes of torchrun that do not lead.

    Raises:
        DataError: as `tokenize_dataset`.
        AnymodalError: the model cannot be loaded, or it cannot do what is asked.
    """
    everything = [path for each in files.values() for path in each.values()]
    root = os.path.commonpath([Path(path).absolute().parent for path in everything])
    listed = ListedFiles(root, {**files, **{name + MASKS: each for name, each in (masks or {}).items()}})
    work = Generating(source, listed, dict(texts or {}), request, Path(out), batch, shard_size)
    work.share(workers, executor)
    return make_dataset(
        work,
        work.plan,
        executor=executor,
        workers=workers,
        max_bad=max_bad,
        what="generating",
    )


class Generating(ModelWork):
    """The work of generating."""

    def __init__(
        self,
        source: ModelSource,
        files: ListedFiles,
        texts: dict[str, str],
        request: Request,
        out: Path,
        batch: int,
        shard_size: int,
    ) -> None:
        super().__init__(source, shard_size)
        self.files, self.texts, self.request, self.out, self.batch = files, texts, request, out, batch

    @property
    def samples(self) -> int:
        return len(self.files)

    @cached_property
    def values(self) -> ValueSource:
        return ValueSource(self.files, self.model.modalities.modalities)

    @cached_property
    def targets(self) -> list[str]:
        """What is generated, in this order. Raises as `AnyModel.generate`."""
        modalities, request = self.model.modalities, self.request
        names = chosen_targets(modalities, list(request.targets), self.shown)
        check_keep(self.kept, names, modalities)
        check_keep(request.start, names, modalities, "start")
        once = seen_once(names, self.kept, request.start)
        make_plan(modalities, names, self.shown, request.weights, request.options, request.common, seen_once=once)
        if finer := [name for name in names if name not in modalities]:
            raise GenerationError(f"a dataset holds whole modalities; name {finer[0].split('.')[0]!r} as the target")
        return names

    @property
    def chained(self) -> bool:
        """Whether each target is made from those before it too."""
        return chained(self.request.chain, self.model.bundle.chain, self.model.modalities, self.shown)

    def names(self, shard: int) -> list[str]:
        return [self.files.key(row) for row in self.rows(shard)]

    @property
    def given(self) -> list[str]:
        """The modalities that are inputs."""
        return [*(name for name in self.files.folders if not name.endswith(MASKS)), *self.texts]

    @property
    def kept(self) -> list[str]:
        """The modalities of which a part is kept: inputs that are targets too. Raises GenerationError."""
        masked = [name.removesuffix(MASKS) for name in self.files.folders if name.endswith(MASKS)]
        kept_for_each(self.request.keep, [dict.fromkeys(self.given)])
        return [*self.request.keep, *masked]

    @property
    def shown(self) -> list[str]:
        """The inputs that are written as they are."""
        return [name for name in self.given if name not in self.kept]

    def plan(self) -> Plan:
        names = [self.names(shard) for shard in range(len(self.counts))]
        for name in self.given:
            self.modality(name)  # there is one
        self.model.accept(self.texts)
        return Plan(
            kind=KIND,
            format=FORMAT,
            settings={"samples": len(self.files), "names": digest(names), "layout": LAYOUT},
            modalities={**{name: self._describe_input(name) for name in self.shown}, **self._describe_targets()},
            counts=self.counts,
            parts=[*self.shown, *self.targets],
            versions=versions(self.modality(name) for name in (*self.given, *self.targets)),
            data=self.files.root,
            inputs=self.inputs,
        )

    def _describe_input(self, name: str) -> dict[str, Any]:
        return {"labeler": None, "settings": self.modality(name).config(), "text": self.texts.get(name)}

    def _describe_targets(self) -> dict[str, dict[str, Any]]:
        """What the values of each target depend on; among it the targets before it."""
        request = self.request
        kept = {"keep": _text({name: request.keep.get(name, "a mask") for name in self.kept})} if self.kept else {}
        texts = {name: self.texts[name] for name in self.kept if name in self.texts}  # which are no part of their own
        begun = {"start": _text(request.start)} if request.start else {}
        common = {
            **kept,
            **({"texts": texts} if texts else {}),
            **begun,
            "model": self.source.describe(),
            "from": self.given,
            "seed": request.seed,
            "weights": dict(request.weights or {}),
            "sampling": {name: str(value) for name, value in request.common.items()},
        }
        return {
            name: {
                "labeler": f"{self.source.name}:{name}",
                "settings": self.modality(name).config(),
                **common,
                "after": {
                    before: _text(request.options.get(before, {})) for before in self.targets[: k * self.chained]
                },
                "own": _text(request.options.get(name, {})),
            }
            for k, name in enumerate(self.targets)
        }

    def inputs(self, shard: int) -> dict[str, Inputs]:
        """The files that a shard is made from."""
        return inputs_of(self.files, self.files.folders, self.rows(shard))

    def outputs(self, shard: int, part: str) -> dict[str, list[Path]]:
        return paths(self.out, LAYOUT, self.modality(part), shard, self.names(shard))

    def open(self, device: str | None) -> ShardGenerator:
        self.move(device)
        return ShardGenerator(self)


def _text(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as they are written down: of a file what it holds, wherever it lies."""
    return {
        name: f"file {checksum([value]).sha256}" if isinstance(value, Path) else str(value)
        for name, value in options.items()
    }


class ShardGenerator:
    """Makes the parts of shards."""

    def __init__(self, work: Generating) -> None:
        self.work = work

    def inputs(self, shard: int) -> dict[str, Inputs]:
        return self.work.inputs(shard)

    def __call__(self, job: Job) -> Iterator[tuple[str, list[Problem]]]:
        """The parts that are finished one after the other, each with what was left out. Raises DataError."""
        work = self.work
        problems: dict[str, list[Problem]] = {part: [] for part in (*work.given, *work.targets)}
        with one_thread(work.alone):
            seen = self._seen(job.shard, problems)
            needs_model = any(part in work.targets for part in job.parts)
            made = self._made(seen, problems) if needs_model else {}
        for part in job.parts:
            values = seen if part in work.shown else made
            written: set[tuple[str, str]] = set()
            with scratch(work.out / RECORDS, "value-") as folder:
                found = self._files(part, {row: each[part] for row, each in values.items()}, folder, problems[part])
                write_files(work.out, LAYOUT, part, job.shard, noting(found, written))
            remove_earlier(work.out, work.modality(part), work.names(job.shard), written)
            yield part, problems[part]

    def _seen(self, shard: int, problems: Mapping[str, list[Problem]]) -> dict[int, dict[str, Any]]:
        """By sample what the model sees of its inputs; samples that lack one, or have a bad one, are left out.

        So are masks, whose names end in `MASKS`, and what values begin with, in `BEGUN`.
        """
        work, seen = self.work, {}
        for row in work.rows(shard):
            values: dict[str, Any] = dict(work.texts)
            name = ""
            try:
                for name in work.files.folders:
                    of, mask, _ = name.partition(MASKS)
                    if not work.files.holds(name, row):
                        raise ValueProblem(f"there is no {'mask' if mask else 'file'} of {of!r}")
                    with blame(work.modality(of), "read"):
                        values[name] = self._mask(of, row, values[of]) if mask else work.values.read_file(name, row)
                masks = {name: value for name, value in values.items() if name.endswith(MASKS)}
                seen[row] = self._cut({name: values[name] for name in work.given}) | masks
            except AnymodalError as error:
                name = name.removesuffix(MASKS)
                problems[name].append(Problem(work.files.key(row), name, one_line(error)))
        return seen

    def _cut(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """What is seen of the values of a sample; of a list of which numbered parts are kept, these alone."""
        modalities, request = self.work.model.modalities, self.work.request
        seen = modalities.accept(whole)
        for name, kept in request.keep.items():
            if kept is not True and isinstance(seen[name], list):
                seen[name] = seen_parts(modalities, name, kept, whole)
        begun = read_once(modalities, request.start)
        return seen | {name + BEGUN: cut_beside(modalities, name, value, whole) for name, value in begun.items()}

    def _mask(self, name: str, row: int, value: Any) -> np.ndarray:
        """The mask of a picture, cut as it is."""
        work = self.work
        return cut_mask(name, Path(work.files.place(name + MASKS, row)), work.modality(name).extent(value))

    def _made(
        self, seen: Mapping[int, Mapping[str, Any]], problems: Mapping[str, list[Problem]]
    ) -> dict[int, Mapping[str, Any]]:
        """By sample what the model generates."""
        rows, made = list(seen), {}
        for start in range(0, len(rows), self.work.batch):
            for row, found in self._generate(rows[start : start + self.work.batch], seen):
                if isinstance(found, AnymodalError):
                    first = self.work.targets[0]
                    problems[first].append(Problem(self.work.files.key(row), first, one_line(found)))
                else:
                    made[row] = found
        return made

    def _generate(
        self, rows: Sequence[int], seen: Mapping[int, Mapping[str, Any]]
    ) -> Iterable[tuple[int, Mapping[str, Any] | AnymodalError]]:
        """The outputs of each sample, or the error that it raises alone."""
        request = self.work.request
        try:
            outputs = self.work.model.generate_batch(
                [{name: seen[row][name] for name in self.work.given} for row in rows],
                self.work.targets,
                seed=[request.seed + row for row in rows],
                chain=request.chain,
                weights=request.weights,
                options=request.options,
                keep=[self._kept(seen[row]) for row in rows],
                start=[{name: seen[row][name + BEGUN] for name in request.start} for row in rows],
                **request.common,
            )
            return list(zip(rows, outputs, strict=True))
        except AnymodalError as error:
            if len(rows) == 1:
                return [(rows[0], error)]
            return [each for row in rows for each in self._generate([row], seen)]

    def _kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept of a sample."""
        keep = {name: isinstance(values[name], list) or kept for name, kept in self.work.request.keep.items()}
        return {name: keep.get(name, values.get(name + MASKS)) for name in self.work.kept}

    def _files(self, name: str, values: Mapping[int, Any], folder: Path, problems: list[Problem]) -> Iterator[File]:
        """The files of a modality, as it writes them in `folder`."""
        work, modality = self.work, self.work.modality(name)
        for row, value in values.items():
            sample = work.files.key(row)
            try:
                if wrong := unfinite(value, nan=not modality.nan_is_missing):
                    raise ValueProblem(f"the value holds {wrong}")
                with blame(modality, "write", value):
                    suffix, content = file_of(modality, value, folder)
            except AnymodalError as error:
                problems.append(Problem(sample, name, one_line(error)))
            else:
                yield sample, suffix, content
