"""The scores of some samples, in whichever process: read, asked for, compared; and vectors of reference samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.anymodel import AnyModel
from anymodal.data.jobs.model_source import ModelSource
from anymodal.errors import AnymodalError, one_line
from anymodal.evaluation.layouts.base import Sample, Samples
from anymodal.evaluation.metrics import Metric
from anymodal.evaluation.reliability import DrawReliability, add_value, listening
from anymodal.evaluation.report import BOUND, CONSTANT, MODEL, SHUFFLED
from anymodal.evaluation.scores.neighbors import Neighbors
from anymodal.evaluation.tasks.base import Task
from anymodal.families import LabelMapModality
from anymodal.generation.retrieval import retrieval_options, stacked_vectors
from anymodal.plugins.guard import blame
from anymodal.retrieval.index import Index

Belief = tuple[Any, "np.ndarray | None", "np.ndarray | None"]
FITTED = 32  # truths that the constant is fitted to


@attrs.frozen
class Piece:
    """What was found of a few samples.

    metrics: the states of the metrics, by "model", "bound", "constant" and "shuffled".
    reliability: the state of how sure the model was, None where it says nothing of it.
    problems: part, kind and example of each sample that was left out.
    each: the number and the own score of each sample that was not.
    """

    metrics: Mapping[str, Any]
    problems: Sequence[tuple[str, str, str]]
    each: Sequence[tuple[int, float]]
    reliability: Mapping[str, Any] | None = None


@attrs.frozen
class Vectors:
    """The vectors (n, channels) of reference samples, what they belong to, and what was left out."""

    vectors: np.ndarray | None
    names: Sequence[str]
    problems: Sequence[tuple[str, str, str]]


@attrs.frozen
class Work:
    """What a process has to know in order to score samples of a task; `index` holds the vectors of the reference."""

    task: Task
    data: str
    model: ModelSource
    count: int
    batch: int
    seed: int
    sampling: Mapping[str, Any]
    index: str = ""

    def __call__(self, number: int) -> Any:
        """Make the worker of that number; it takes ranges of samples, those of the reference with a word before."""
        import torch

        device = f"cuda:{number % torch.cuda.device_count()}" if torch.cuda.is_available() else None
        scorer = Scorer(self.task, self.data, self.model.load(device), self.count, self.batch, self.seed, self.sampling)
        if self.index:
            scorer.index = Index(self.index)
        return scorer.job


class Scorer:
    """Scores samples of a task by a model."""

    def __init__(
        self,
        task: Task,
        data: str,
        model: AnyModel,
        count: int | None,
        batch: int,
        seed: int,
        sampling: Mapping[str, Any],
    ) -> None:
        """Raises DataError where the data is not in the layout of the task. `count` None is all samples."""
        self.task, self.model, self.batch, self.seed, self.sampling = task, model, batch, seed, dict(sampling)
        self.target = model.modalities[task.target]
        self.samples = task.open(Path(data), model.modalities)
        self.count = len(self.samples) if count is None else min(count, len(self.samples))
        self.reference = task.reference(Path(data), model.modalities, self.count)
        if self.reference is not None:
            chosen: Any = retrieval_options(model.modalities, task.target, self.sampling)  # type: ignore[arg-type]
            self.sampling = dict(chosen)
        self.index: Index | None = None
        self._fitted: list[Any] = []

    @property
    def kinds(self) -> list[str]:
        """Which scores there are."""
        known = {BOUND: self.task.bounded, SHUFFLED: self.task.paired}
        return [kind for kind in (MODEL, BOUND, CONSTANT, SHUFFLED) if known.get(kind, True)]

    def metrics(self) -> dict[str, Metric]:
        """New metrics by kind."""
        found = {kind: self.task.metric(self.target) for kind in self.kinds}
        for metric in found.values():
            if isinstance(metric, Neighbors) and self.index is not None:
                metric.refer(self.index)
        return found

    def job(self, job: tuple[bool, int, int]) -> Piece | Vectors:
        """Do (whether of the reference, first, last + 1)."""
        reference, start, stop = job
        return self.vectors(range(start, stop)) if reference else self.score(range(start, stop))

    def read(
        self, samples: Samples, numbers: Sequence[int], problems: list[tuple[str, str, str]]
    ) -> Iterator[tuple[int, Sample]]:
        """Samples at the model's size; those that cannot be used are named."""
        for number in numbers:
            try:
                yield number, self.fitted(samples, number)
            except AnymodalError as error:
                place = f"{samples.name(number)}: {one_line(error)}"
                problems.append((self.task.target, type(error).__name__, place))

    def fitted(self, samples: Samples, number: int) -> Sample:
        """A sample at the model's size. Raises AnymodalError where it cannot be used."""
        sample = samples.read(number)
        return sample if samples.sized else self.task.fit(self.model, sample)

    def constant(self) -> Any:
        """One prediction for all samples, fitted to the first of them; None where that means nothing."""
        if not self._fitted:
            some = self.read(self.samples, range(min(FITTED, self.count)), [])
            truths = [sample.truth for _, sample in some]
            self._fitted.append(self.task.constant(truths) if truths else None)
        return self._fitted[0]

    def reliability(self) -> DrawReliability | None:
        """What counts how sure the model is of several draws; None where it says nothing of it."""
        several = self.sampling.get("samples", 1) != 1 and getattr(self.target, "averages", False)
        whole = not self.target.photographic and self.task.bounded
        parts = "parts" if hasattr(self.target, "parts_in") else "intervals"
        of = "classes" if isinstance(self.target, LabelMapModality) else parts
        return DrawReliability(of) if several and whole else None

    def generated(
        self, numbers: Sequence[int], samples: Sequence[Sample], sure: list[Belief] | None = None
    ) -> list[Any]:
        """What the model makes of samples; the same for each, whatever the others are.

        Into `sure` goes of each request the value, how unsure it is, and how likely its classes are.
        """
        asked = [(number, each) for number, sample in zip(numbers, samples, strict=True)
                 for each in self.task.requests(sample)]  # fmt: skip
        made: list[Any] = []
        for start in range(0, len(asked), self.batch):
            part = asked[start : start + self.batch]
            with listening(self.target) as heard:
                outputs = self.model.generate_batch(
                    [each.inputs for _, each in part],
                    self.task.target,
                    seed=[self.seed + number for number, _ in part],
                    start=[each.start for _, each in part],
                    **self.sampling,
                )
            values = [output[self.task.target] for output in outputs]
            made += values
            if sure is not None:
                unsure = [output.uncertainty.get(self.task.target) for output in outputs]
                likely = heard if len(heard) == len(values) else [None] * len(values)
                sure += zip(values, unsure, likely, strict=True)
        counts = [len(self.task.requests(sample)) for sample in samples]
        groups = [[made.pop(0) for _ in range(count)] for count in counts]
        return self.task.judged(self.model, samples, [self.task.joined(group) for group in groups])

    def vectors(self, numbers: Sequence[int]) -> Vectors:
        """The predicted vectors of samples of the reference."""
        assert self.reference is not None
        problems: list[tuple[str, str, str]] = []
        usable = list(self.read(self.reference, numbers, problems))
        if not usable:
            return Vectors(None, [], problems)
        made = self.generated([number for number, _ in usable], [sample for _, sample in usable])
        return Vectors(stacked_vectors(made, self.target, False), [s.truth for _, s in usable], problems)

    def score(self, numbers: Sequence[int]) -> Piece:
        """The scores of samples."""
        metrics, reliability = self.metrics(), self.reliability()
        problems: list[tuple[str, str, str]] = []
        each: list[tuple[int, float]] = []
        usable = list(self.read(self.samples, numbers, problems))
        if usable:
            sure: list[Belief] = []
            made = self.generated([number for number, _ in usable], [sample for _, sample in usable], sure)
            truths = [sample.truth for _, sample in usable]
            if reliability is not None:
                values = [value for truth in truths for value in self.task.values(truth)]
                for belief, value in zip(sure, values, strict=True):
                    add_value(reliability, self.target, *belief, self.task.as_made(self.target, value))
            own = metrics[MODEL].update_all(made, truths)
            known = [k for k, score in enumerate(own) if score is not None]
            for k, score in enumerate(own):
                if score is None:
                    place = f"{self.samples.name(usable[k][0])}: nothing in it can be compared"
                    problems.append((self.task.target, "empty truth", place))
                elif np.isfinite(score):
                    each.append((usable[k][0], float(score)))
            self._beside(metrics, made, truths, known)
        states = {kind: metric.state() for kind, metric in metrics.items()}
        return Piece(states, problems, each, None if reliability is None else reliability.state())

    def _beside(self, metrics: Mapping[str, Metric], made: list[Any], truths: list[Any], known: list[int]) -> None:
        """The bound and the baselines of the samples that could be compared."""
        true = [truths[k] for k in known]
        if not true:
            return
        if BOUND in metrics:
            metrics[BOUND].update_all([self._coded(truth) for truth in true], true)
        if (constant := self.constant()) is not None:
            metrics[CONSTANT].update_all([constant] * len(true), true)
        if SHUFFLED in metrics and len(made) > 1:
            moved = [self.task.moved(made[k - 1], truths[k - 1], truths[k]) for k in known]
            metrics[SHUFFLED].update_all(moved, true)

    def _coded(self, truth: Any) -> Any:
        """A truth through the target's own tokens and back, by itself, so that it does not depend on the others."""
        coded = []
        for value in self.task.values(truth):
            with blame(self.target, "tokenize", value):
                tokens = self.target.tokenize([value])
            with blame(self.target, "detokenize"):
                coded += self.target.detokenize(tokens[self.target.name])
        return self.task.joined(coded)
