"""One evaluation: batch by batch, so that it goes on where it was interrupted, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import attrs
import numpy as np

from anymodal.anymodel import AnyModel, load
from anymodal.config.validators import integer
from anymodal.data.digest import changes, digest
from anymodal.data.jobs.inputs import address
from anymodal.data.report import ProblemCounts
from anymodal.data.schema import read_book
from anymodal.data.sheet import Values, draw_sheet, save_sheet
from anymodal.errors import AnymodalError, ConfigError, DataError, GenerationError, nearest, one_line, system_errors
from anymodal.evaluation.layouts.base import Sample, Samples
from anymodal.evaluation.metrics import Metric
from anymodal.evaluation.report import BOUND, CONSTANT, MODEL, SHEET, SHUFFLED, Evaluation
from anymodal.evaluation.tasks import TASKS, Task
from anymodal.files import only_writer, write_json
from anymodal.outputs.run import fingerprint
from anymodal.plugins.guard import blame
from anymodal.progress import task as progress
from anymodal.sampling import SamplingOptions

PROGRESS, DIGEST = "progress.json", "sha256"
FITTED = 32  # truths that the constant is fitted to


@system_errors(DataError)
def evaluate(
    task: str | Task,
    data: str | Path,
    model: AnyModel | str | Path = "tiny",
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    batch: int = 16,
    seed: int = 0,
    **sampling: Unpack[SamplingOptions],
) -> Evaluation:
    """Score a model at a task.

    Args:
        task: its name in the table `anymodal.evaluation.TASKS`, or a task with other inputs.
        data: the folder of the data set, in the layout that it was published in.
        model: the model, or its name.
        out: a folder for `report.json`, `report.md` and `sheet.png`; the same call goes on with an interrupted one.
        limit: only the first samples.
        batch: samples that are generated together; each gets what it would get alone.
        seed: sample number i uses `seed` + i.
        sampling: sampling options of the target, as of `AnyModel.generate`.

    Returns:
        The scores, beside the bound and the baselines.

    Raises:
        DataError: the data is not in the layout, no sample of it can be used, or `out` was begun with other settings.
        GenerationError: the model does not make the target from the inputs.
        ConfigError: there is no such task, or an impossible option.
    """
    chosen = TASKS(task)
    loaded = model if isinstance(model, AnyModel) else load(model)
    batch, seed = integer(batch), integer(seed)
    if batch < 2:
        raise ConfigError(f"batch is at least 2, got {batch}: truths are shuffled within it")
    if limit is not None and integer(limit) < 1:
        raise ConfigError(f"limit is at least 1, got {limit}")
    check_model(chosen, loaded)
    samples = chosen.open(Path(data), loaded.modalities)
    count = len(samples) if limit is None else min(integer(limit), len(samples))
    run = Run(chosen, loaded, samples, count, batch, seed, sampling)
    if out is None:
        run.finish(None)
        return run.report(str(data))
    folder = Path(out)
    with only_writer(folder):
        run.resume(folder / PROGRESS)
        run.finish(folder / PROGRESS)
        found = run.report(str(data))
        found.save(folder)
        write_sheet(run, found, folder / SHEET)
        (folder / PROGRESS).unlink(missing_ok=True)
    return found


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


def _first(problems: ProblemCounts) -> str:
    return next((each.examples[0] for each in problems), "their truths say nothing")


class Run:
    """An evaluation on its way: what was accumulated of the samples before `done`."""

    def __init__(
        self,
        task: Task,
        model: AnyModel,
        samples: Samples,
        count: int,
        batch: int,
        seed: int,
        sampling: Mapping[str, Any],
    ) -> None:
        self.task, self.model, self.samples, self.count = task, model, samples, count
        self.batch, self.seed, self.sampling = batch, seed, sampling
        self.target = model.modalities[task.target]
        self.metrics: dict[str, Metric] = {
            kind: task.metric(self.target) for kind in (MODEL, BOUND, CONSTANT, SHUFFLED)
        }
        self.problems, self.each, self.done = ProblemCounts(), list[tuple[int, float]](), 0
        self.settings = {
            **attrs.asdict(task),
            "names": digest([samples.name(number) for number in range(count)]),
            "weights": fingerprint(model.transformer),
            "files": digest(samples.state(count)),
            "samples": count,
            "batch": batch,
            "seed": seed,
            "sampling": {name: str(value) for name, value in sampling.items()},
        }

    def report(self, data: str) -> Evaluation:
        """The scores so far. Raises DataError where no sample could be scored."""
        if not self.each:
            raise DataError(f"none of {self.count} samples of {data} can be scored: {_first(self.problems)}")
        scores = {kind: metric.compute() for kind, metric in self.metrics.items()}
        return Evaluation(
            self.task.name,
            address(data),
            self.model.origin.model or "a model in memory",
            len(self.each),
            {kind: each for kind, each in scores.items() if each},
            self.settings,
            self.problems,
            self.samples.notes,
            self.each,
        )

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
                metric.restore(known["metrics"][kind])
            for each in known["problems"]:
                for example in each["examples"]:
                    self.problems.add(each["part"], each["kind"], example, 0)
                self.problems.add(each["part"], each["kind"], "", each["count"])
            self.each = [(int(number), float(score)) for number, score in known["each"]]
            self.done = int(known["done"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({one_line(error, 100)}); remove it") from None

    def finish(self, path: Path | None) -> None:
        """Score what is left, and write down after each batch what was accumulated."""
        constant = self._constant()
        with progress(f"evaluating {self.task.name}", self.count, self.done) as now:
            while self.done < self.count:
                numbers = range(self.done, min(self.done + self.batch, self.count))
                self._score(list(self._usable(numbers, self.problems)), constant)
                self.done = numbers.stop
                now.advance(len(numbers))
                if path is not None:
                    write_json(self._state(), path)

    def _state(self) -> dict[str, Any]:
        state = {
            "settings": self.settings,
            "done": self.done,
            "metrics": {kind: metric.state() for kind, metric in self.metrics.items()},
            "problems": [attrs.asdict(each) for each in self.problems],
            "each": self.each,
        }
        return {**state, DIGEST: digest(state)}

    def _usable(self, numbers: Sequence[int], problems: ProblemCounts) -> Iterator[tuple[int, Sample]]:
        """Samples at the model's size; those that cannot be used are counted and named."""
        for number in numbers:
            try:
                yield number, self.at_size(self.samples.read(number))
            except AnymodalError as error:
                reason = one_line(error)
                problems.add(self.task.target, type(error).__name__, f"{self.samples.name(number)}: {reason}")

    def at_size(self, sample: Sample) -> Sample:
        """A sample with all its values cut to the centered square at the model's size."""
        if self.samples.sized:
            return sample
        truth = sample.truth
        several = isinstance(truth, list) and all(isinstance(each, str) for each in truth)  # of captions
        values = dict(sample.inputs) if several else {**sample.inputs, self.task.target: truth}
        accepted = self.model.accept(values)
        return Sample(
            {name: accepted[name] for name in sample.inputs}, truth if several else accepted[self.task.target]
        )

    def _constant(self) -> Any:
        truths = [sample.truth for _, sample in self._usable(range(min(FITTED, self.count)), ProblemCounts())]
        return self.task.constant(truths) if truths else None

    def generated(self, numbers: Sequence[int], samples: Sequence[Sample]) -> list[Any]:
        """What the model makes of samples; the same for each, whatever the others are."""
        outputs = self.model.generate_batch(
            [sample.inputs for sample in samples],
            self.task.target,
            seed=[self.seed + number for number in numbers],
            **self.sampling,
        )
        return [output[self.task.target] for output in outputs]

    def _score(self, usable: Sequence[tuple[int, Sample]], constant: Any) -> None:
        if not usable:
            return
        numbers, samples = [number for number, _ in usable], [sample for _, sample in usable]
        made = self.generated(numbers, samples)
        coded = self._coded([sample.truth for sample in samples])
        for k, (number, sample) in enumerate(usable):
            own = self.metrics[MODEL].update(made[k], sample.truth)
            if own is None:
                place = f"{self.samples.name(number)}: nothing in it can be compared"
                self.problems.add(self.task.target, "empty truth", place)
                continue
            if np.isfinite(own):
                self.each.append((number, own))
            self.metrics[BOUND].update(coded[k], sample.truth)
            if constant is not None:
                self.metrics[CONSTANT].update(constant, sample.truth)
            if len(samples) > 1:
                self.metrics[SHUFFLED].update(made[k - 1], sample.truth)

    def _coded(self, truths: Sequence[Any]) -> list[Any]:
        """Truths through the target's own tokens and back; of several captions the first one."""
        plain = [truth[0] if isinstance(truth, list) and isinstance(truth[0], str) else truth for truth in truths]
        coded = []
        for truth in plain:  # one by one, so that the bound does not depend on the batch
            with blame(self.target, "tokenize", truth):
                tokens = self.target.tokenize([truth])
            with blame(self.target, "detokenize"):
                coded += self.target.detokenize(tokens[self.target.name])
        return coded


def write_sheet(run: Run, found: Evaluation, path: Path) -> None:
    """Draw the best, middle and worst samples: inputs, what was generated, and the truth. Raises DataError."""
    lines: list[tuple[str, Values]] = []
    target = run.target
    for words, number in found.chosen():
        sample = run.at_size(run.samples.read(number))
        (made,) = run.generated([number], [sample])
        truth = sample.truth[0] if isinstance(sample.truth, list) and isinstance(sample.truth[0], str) else sample.truth
        shown = {name: (run.model.modalities[name], value) for name, value in sample.inputs.items()}
        lines.append((words, {**shown, f"{target.name} made": (target, made), f"{target.name} true": (target, truth)}))
    sheet = draw_sheet(lines)
    if sheet is not None:
        save_sheet(sheet, path)
