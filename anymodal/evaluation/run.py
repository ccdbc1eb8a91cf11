"""One evaluation: batch by batch, so that it goes on where it was interrupted, in memory that does not grow."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import attrs
import numpy as np

from anymodal.anymodel import AnyModel, load
from anymodal.config.arguments import PLACE, WHOLE, takes
from anymodal.config.validators import integer
from anymodal.data.digest import changes, digest
from anymodal.data.jobs.executors import Local
from anymodal.data.jobs.inputs import address
from anymodal.data.jobs.model_source import ModelSource
from anymodal.data.report import ProblemCounts
from anymodal.data.schema import read_book
from anymodal.data.sheet import Values, draw_sheet, save_sheet
from anymodal.errors import ConfigError, DataError, GenerationError, counted, nearest, one_line, system_errors
from anymodal.evaluation.layouts.base import Samples
from anymodal.evaluation.report import RESULTS, SHEET, Evaluation
from anymodal.evaluation.scoring import Piece, Scorer, Vectors, Work
from anymodal.evaluation.tasks import TASKS, Task
from anymodal.files import check_file, only_writer, write_json
from anymodal.outputs.fingerprint import Fingerprint, fingerprint
from anymodal.progress import task as progress
from anymodal.retrieval.index import Index
from anymodal.retrieval.query import check_model as check_index
from anymodal.sampling import SamplingOptions

PROGRESS, DIGEST, REFERENCE = "progress.json", "sha256", "reference"
ROWS = 4096  # vectors of the reference that are written at once


@system_errors(DataError)
@takes(data=PLACE, out=PLACE, count=WHOLE, batch=WHOLE, seed=WHOLE, processes=WHOLE)
def evaluate(
    task: str | Task | Mapping[str, Any],
    data: str | Path,
    model: AnyModel | str | Path | ModelSource = "tiny",
    *,
    out: str | Path | None = None,
    count: int | None = None,
    batch: int = 16,
    seed: int = 0,
    processes: int = 1,
    **sampling: Unpack[SamplingOptions],
) -> Evaluation:
    """Score a model at a task.

    Args:
        task: its name in the table `anymodal.evaluation.TASKS`, a block with a name and options, or a task.
        data: the folder of the data set, in the layout that it was published in.
        model: the model, or its name; for several processes the name, or how it is loaded.
        out: a folder for `report.json`, `report.md` and `sheet.png`; the same call goes on with an interrupted one.
        count: only the first samples.
        batch: samples that are generated together; each gets what it would get alone.
        seed: sample number i uses `seed` + i.
        processes: that share the samples, each with one thread; the scores are those of one process with one thread.
        sampling: sampling options of the target, as of `AnyModel.generate`, such as `samples=10`.

    Returns:
        The scores, beside the bound and the baselines.

    Raises:
        DataError: the data is not in the layout, no sample of it can be used, or `out` was begun with other settings.
        GenerationError: the model does not make the target from the inputs.
        ConfigError: there is no such task, or an impossible option.
    """
    chosen = TASKS(task)
    batch, seed, processes = integer(batch), integer(seed), integer(processes)
    if batch < 2:
        raise ConfigError(f"batch is at least 2, got {batch}: truths are shuffled within it")
    if count is not None and integer(count) < 1:
        raise ConfigError(f"count is at least 1, got {count}")
    if out is not None:
        for name in RESULTS:
            check_file(Path(out) / name)
    scorer, spread = _begin(chosen, str(data), model, count, batch, seed, processes, sampling)
    run = Run(scorer, str(data), processes, spread)
    if out is None:
        with tempfile.TemporaryDirectory() as temporary:
            return run.finish(Path(temporary), None)
    folder = Path(out)
    with only_writer(folder):
        run.resume(folder / PROGRESS)
        found = run.finish(folder, folder / PROGRESS)
        found.save(folder)
        write_sheet(scorer, found, folder / SHEET)
        (folder / PROGRESS).unlink(missing_ok=True)
        shutil.rmtree(folder / REFERENCE, ignore_errors=True)
    return found


def _begin(
    task: Task,
    data: str,
    model: AnyModel | str | Path | ModelSource,
    count: int | None,
    batch: int,
    seed: int,
    processes: int,
    sampling: Mapping[str, Any],
) -> tuple[Scorer, Work | None]:
    """What scores samples here, and the work as several processes do it. Raises as `evaluate`."""
    source = model if isinstance(model, (AnyModel, ModelSource)) else ModelSource(str(model))
    if processes < 1 or (processes > 1 and isinstance(source, AnyModel)):
        raise ConfigError(f"{processes} processes each load the model: give at least 1, and the name of the model")
    loaded = source if isinstance(source, AnyModel) else load(source.name, **source.options)
    check_model(task, loaded)
    scorer = Scorer(task, data, loaded, None if count is None else integer(count), batch, seed, sampling)
    if isinstance(source, AnyModel) or processes == 1:
        return scorer, None
    return scorer, Work(task, data, source, scorer.count, batch, seed, dict(sampling))


def check_model(task: Task, model: AnyModel) -> None:
    """Raise GenerationError unless a model makes the target of a task from its inputs."""
    known = model.modalities
    if task.target not in known.targets:
        raise GenerationError(f"{task.name} needs {task.target!r}, which the model does not make")
    for name in task.inputs:
        if name not in known or not known.input_streams(name):
            raise GenerationError(f"the model does not read {name!r}{nearest(name, known.modalities)}")
        if name == task.target:
            raise GenerationError(f"{name!r} is both an input and the target of {task.name}")


def _fingerprint(task: Task, model: AnyModel) -> Fingerprint:
    """Of the model, as a task uses it."""
    reads = dict.fromkeys([*task.inputs, *getattr(task, "found_by", ())])
    return fingerprint(model.transformer, model.modalities, reads, [task.target])


class Run:
    """An evaluation on its way: what was accumulated of the samples before `done`."""

    def __init__(self, scorer: Scorer, data: str, processes: int = 1, spread: Work | None = None) -> None:
        """`spread` is the work as several processes do it."""
        self.scorer, self.data, self.processes, self.spread = scorer, data, processes, spread
        self.metrics = scorer.metrics()
        self.problems, self.each, self.done = ProblemCounts(), list[tuple[int, float]](), 0
        self.reliability = scorer.reliability()
        self.known = 0  # samples of the reference whose vectors are kept, or that were left out
        self.rows = 0  # of the index of them
        samples, count, reference = scorer.samples, scorer.count, scorer.reference
        self.settings = {
            **attrs.asdict(scorer.task),
            "names": digest([samples.name(number) for number in range(count)]),
            "model": attrs.asdict(_fingerprint(scorer.task, scorer.model)),
            "files": digest(samples.state(count)),
            **({} if reference is None else {"reference": digest(_identity(reference))}),
            **({} if (beside := scorer.task.state()) is None else {"beside": digest(beside)}),
            "samples": count,
            "batch": scorer.batch,
            "seed": scorer.seed,
            "sampling": {name: str(value) for name, value in scorer.sampling.items()},
        }

    def report(self) -> Evaluation:
        """The scores so far. Raises DataError where no sample could be scored."""
        if not self.each:
            count, reason = self.scorer.count, _first(self.problems)
            raise DataError(f"none of {counted(count, 'sample')} of {self.data} can be scored: {reason}")
        scores = {kind: metric.compute() for kind, metric in self.metrics.items()}
        return Evaluation(
            self.scorer.task.title,
            address(self.data),
            self.scorer.model.origin.model or "a model in memory",
            len(self.each),
            {kind: each for kind, each in scores.items() if each},
            self.settings,
            self.problems,
            [*self.scorer.samples.notes, *self._advice()],
            self.each,
            None if self.reliability is None or not self.reliability.places.any() else self.reliability.as_json(),
        )

    def _advice(self) -> list[str]:
        """What is said of several draws that are none."""
        target, sampling = self.scorer.target, self.scorer.sampling
        tuned, sequence = target.tuned_sampling(True), target.sampling(True).scheme.name == "autoregressive"
        if sampling.get("samples", 1) == 1:
            return []
        if sequence and sampling.get("temperature", tuned.temperature) == 0:
            return ["samples are all alike at the temperature 0: draw by temperature=1"]
        if sequence or sampling.get("scheme", tuned.scheme.name) != "mean":
            return []
        return ["samples change nothing of the scheme mean, which is their mean: draw by scheme=roar and temperature=1"]

    def resume(self, path: Path) -> None:
        """Go on from what an interrupted evaluation wrote. Raises DataError if it had other settings."""
        if not path.exists():
            return
        known = read_book(path)
        if known.pop(DIGEST, "") != digest(known):
            raise DataError(f"{path} is damaged: it is not what was written; remove it")
        if found := changes(known.get("settings"), self.settings):
            raise DataError(f"{path.parent} was begun with other settings: {found}. Choose another folder for --out")
        try:
            for kind, metric in self.metrics.items():
                metric.merge(known["metrics"][kind])
            for each in known["problems"]:
                for k, example in enumerate(each["examples"]):
                    self.problems.add(each["part"], each["kind"], example, 0 if k else each["count"])
            if self.reliability is not None:
                self.reliability.merge(known["reliability"])
            self.each = [(int(number), float(score)) for number, score in known["each"]]
            self.done, self.known, self.rows = (int(known[key]) for key in ("done", "known", "rows"))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({one_line(error, 100)}); remove it") from None

    def finish(self, folder: Path, path: Path | None) -> Evaluation:
        """Score what is left, and write down after each batch what was accumulated, into `path`."""
        if self.scorer.reference is not None:
            self._keep_reference(folder / REFERENCE, path)
        with (
            progress(f"evaluating {self.scorer.task.name}", self.scorer.count, self.done) as now,
            self._results(False, self.done, self.scorer.count) as results,
        ):
            for stop, piece in results:
                assert isinstance(piece, Piece)
                for kind, metric in self.metrics.items():
                    metric.merge(piece.metrics[kind])
                if self.reliability is not None and piece.reliability is not None:
                    self.reliability.merge(piece.reliability)
                self._left_out(piece.problems)
                self.each += piece.each
                now.advance(stop - self.done)
                self.done = stop
                self._write(path)
        return self.report()

    def _keep_reference(self, folder: Path, path: Path | None) -> None:
        """Write the vectors of the reference into an index, and give it to the metrics."""
        scorer, reference = self.scorer, self.scorer.reference
        assert reference is not None
        kept: list[np.ndarray] = []
        names: list[str] = []
        index = self._index(folder)
        with (
            progress(f"reading the reference of {scorer.task.name}", len(reference), self.known) as now,
            self._results(True, self.known, len(reference)) as results,
        ):
            for stop, found in results:
                assert isinstance(found, Vectors)
                self._left_out(found.problems)
                kept += [] if found.vectors is None else [found.vectors]
                names += found.names
                now.advance(stop - self.known)
                self.known = stop
                if names and (len(names) >= ROWS or stop == len(reference)):
                    vectors = np.concatenate(kept)
                    if index is None:
                        shutil.rmtree(folder, ignore_errors=True)
                        index = Index.create(folder, vectors.shape[1], model=scorer.model, by=scorer.task.target)
                    index.add(vectors, names)
                    self.rows = index.rows
                    kept, names = [], []
                    self._write(path)
        if index is None:
            raise DataError(f"no sample of the reference can be used: {_first(self.problems)}")
        scorer.index = index
        fresh = scorer.metrics()
        for kind, metric in fresh.items():
            metric.merge(self.metrics[kind].state())
        self.metrics = fresh
        if self.spread is not None:
            self.spread = attrs.evolve(self.spread, index=str(folder))

    def _index(self, folder: Path) -> Index | None:
        """The index of an interrupted run; None where one is to begin, or was not written down to its end."""
        if self.known:
            index = Index(folder)
            check_index(self.scorer.model, index.record, folder)
            if index.rows == self.rows:
                return index
            self.problems, self.known, self.rows = ProblemCounts(), 0, 0
        return None

    @contextmanager
    def _results(self, reference: bool, done: int, count: int) -> Iterator[Iterator[tuple[int, Any]]]:
        """The ends of the batches from `done` on with what was found, in order, by as many processes as there are."""
        batch = self.scorer.batch
        jobs = [(reference, start, min(start + batch, count)) for start in range(done, count, batch)]
        if self.spread is None or len(jobs) < 2:
            yield ((job[2], self.scorer.job(job)) for job in jobs)
            return
        results: Any = Local().results(self.spread, jobs, min(self.processes, len(jobs)))
        try:
            yield _in_order(jobs, results)
        finally:
            results.close()

    def _left_out(self, problems: Sequence[tuple[str, str, str]]) -> None:
        for each in problems:
            self.problems.add(*each)

    def _write(self, path: Path | None) -> None:
        if path is None:
            return
        state = {
            "settings": self.settings,
            "done": self.done,
            "known": self.known,
            "rows": self.rows,
            "metrics": {kind: metric.state() for kind, metric in self.metrics.items()},
            "problems": [attrs.asdict(each) for each in self.problems],
            "reliability": None if self.reliability is None else self.reliability.state(),
            "each": self.each,
        }
        write_json({**state, DIGEST: digest(state)}, path)


def _identity(samples: Samples) -> object:
    """What tells samples from others: their names and the state of their files."""
    return [[samples.name(number) for number in range(len(samples))], samples.state(len(samples))]


def _first(problems: ProblemCounts) -> str:
    return next((each.examples[0] for each in problems), "their truths say nothing")


def _in_order(jobs: Sequence[tuple[bool, int, int]], results: Iterator[tuple[Any, Any]]) -> Iterator[tuple[int, Any]]:
    """Results of jobs in the order of the jobs, in which they did not come."""
    waiting: dict[tuple[bool, int, int], Any] = {}
    todo = iter(jobs)
    wanted = next(todo, None)
    for job, result in results:
        waiting[job] = result
        while wanted is not None and wanted in waiting:
            yield wanted[2], waiting.pop(wanted)
            wanted = next(todo, None)


def write_sheet(scorer: Scorer, found: Evaluation, path: Path) -> None:
    """Draw the best, middle and worst samples: inputs, what was generated, and the truth. Raises DataError."""
    lines: list[tuple[str, Values]] = []
    target, task = scorer.target, scorer.task
    for words, number in found.chosen():
        sample = scorer.fitted(scorer.samples, number)
        values: dict[str, Any] = {name: (scorer.model.modalities[name], each) for name, each in sample.inputs.items()}
        if task.bounded:
            (made,) = scorer.generated([number], [sample])
            values[f"{target.name} made"] = (target, task.shown(made))
            values[f"{target.name} true"] = (target, task.shown(task.joined(task.values(sample.truth))))
        lines.append((words, values))
    sheet = draw_sheet(lines, laid=False)  # a photograph that shines through makes any map look right
    if sheet is not None:
        save_sheet(sheet, path)
