"""Calibration: temperatures at which a model is as sure of its targets as it is right, fitted on held-out data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.anymodel import AnyModel, load
from anymodal.config.arguments import NAMES, PLACE, WHOLE, instance, takes
from anymodal.config.validators import integer
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.jobs.inputs import address
from anymodal.data.report import ProblemCounts
from anymodal.errors import (
    AnymodalError,
    ConfigError,
    DataError,
    GenerationError,
    counted,
    nearest,
    one_line,
    system_errors,
)
from anymodal.evaluation.temperature import Reliability, fitted_temperature
from anymodal.families import EdgeModality, LabelMapModality
from anymodal.generation import Sampler, SampleState, Target
from anymodal.model.transformer import Context
from anymodal.notebook import html_table
from anymodal.plugins.guard import blame
from anymodal.progress import task as progress
from anymodal.sampling import Sampling
from anymodal.spaces import TokenSpace
from anymodal.tokens import NO_LABEL, Packed, Packer, collate

log = logging.getLogger(__name__)
MODEL = instance("a model, or its name", AnyModel, str, Path)
IDS, CLASSES = "ids", "classes"
ROOM = 2**22  # numbers that are kept of each target to fit its temperature to
Key = tuple[str, str]
Belief = tuple[Key, Tensor, Tensor]


@attrs.frozen
class Temperature:
    """What was found for one target.

    target: the modality.
    of: "ids" for the model's tokens, "classes" for the class of a pixel under the mean of several draws.
    temperature: below 1 the model is less sure than it is right, above 1 more.
    before, after: how it is on the samples that it was not fitted to, without it and with it.
    """

    target: str
    of: str
    temperature: float
    before: Reliability
    after: Reliability

    def as_json(self) -> dict[str, Any]:
        """For programs: `error` is the expected calibration error, 0..1, `loss` nats a place."""
        both = {"before": self.before, "after": self.after}
        said = {name: {"error": each.error, "loss": each.mean_loss} for name, each in both.items()}
        named = {"target": self.target, "of": self.of, "temperature": self.temperature}
        return {**named, "places": self.before.places, **said}


@attrs.frozen
class Calibration:
    """The temperatures of a model, and what they were found from.

    inputs: what the targets were predicted from.
    fitted, tried: how many samples the temperatures were fitted to, and how many others they were tried on.
    problems: samples that were left out, by kind.
    """

    model: str
    data: str
    inputs: Sequence[str]
    fitted: int
    tried: int
    temperatures: Sequence[Temperature]
    problems: ProblemCounts = attrs.field(factory=ProblemCounts)

    def _repr_html_(self) -> str:
        rows = [
            (
                each.target,
                each.of,
                each.temperature,
                *(f"{100 * side.error:.2f} %" for side in (each.before, each.after)),
            )
            for each in self.temperatures
        ]
        fitted, tried = counted(self.fitted, "sample"), counted(self.tried, "other")
        title = f"{self.model}: fitted to {fitted} of {self.data}, tried on {tried}"
        return html_table(("target", "of", "temperature", "error before", "after"), rows, title)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        named = {"model": self.model, "data": self.data, "inputs": list(self.inputs)}
        return {
            **named,
            "fitted": self.fitted,
            "tried": self.tried,
            "temperatures": [each.as_json() for each in self.temperatures],
            "problems": [attrs.asdict(problem) for problem in self.problems],
        }


@takes(model=MODEL, data=PLACE, inputs=NAMES, targets=NAMES, count=WHOLE, samples=WHOLE, batch=WHOLE, seed=WHOLE)
@system_errors(DataError)
def calibrate(
    model: AnyModel | str | Path,
    data: str | Path,
    *,
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    count: int | None = None,
    samples: int = 10,
    batch: int = 16,
    seed: int = 0,
) -> Calibration:
    """Fit a temperature for each target to one half of held-out data, and measure on the other half what it does.

    The model has them from then on (`Modality.calibration`), and `save_pretrained` writes them. They change how sure
    `uncertainty` is, never what is generated.

    Args:
        model: the model, or its name.
        data: an aligned dataset that the model was not trained on; samples may lack targets.
        inputs: the modalities that targets are predicted from; by default the first photographic one.
        targets: by default all of the model that the data has, but for the inputs.
        count: only the first samples.
        samples: draws of which the class of a pixel is the mean, as in `generate(samples=...)`.
        batch: samples that are predicted together.
        seed: decides the halves and the draws.

    Returns:
        The temperatures, with the expected calibration error without and with them.

    Raises:
        DataError: there is no such data, or too little of it can be used.
        UnknownModality: a name is not in the model.
        GenerationError: the model does not read an input or make a target, or the data lacks it.
        ConfigError: an impossible number.
    """
    loaded = model if isinstance(model, AnyModel) else load(model)
    if integer(batch) < 1 or integer(samples) < 2:
        raise ConfigError(f"batch is at least 1 and samples at least 2, got {batch} and {samples}")
    run = _Run(loaded, *_open(loaded, data, inputs, targets, count), integer(samples), integer(batch), integer(seed))
    order = np.random.default_rng(run.seed).permutation(len(run.values))
    half = len(order) // 2
    if not half:
        raise DataError(f"{data} has {counted(len(order), 'sample')}; one half is fitted to, one tried, so 2 at least")
    with progress("calibrating", len(order)) as now:
        kept = _Kept(half)
        for belief in run.beliefs(order[:half], now.advance):
            kept.add(*belief)
        found = kept.temperatures()
        tried = {key: (Reliability(), Reliability()) for key in found}
        for key, logits, truths in run.beliefs(order[half:], now.advance):
            for reliability, temperature in zip(tried.get(key, ()), (1.0, found.get(key, 1.0)), strict=False):
                reliability.add(logits, truths, temperature)
    rows = [Temperature(*key, found[key], *both) for key, both in tried.items() if both[0].places]
    if not rows:
        raise DataError(f"no sample of {data} can be used: {_first(run.problems)}")
    _warn_of_worse(rows, half, len(order) - half)
    for name in dict.fromkeys(each.target for each in rows):
        loaded.modalities[name].calibration = {each.of: each.temperature for each in rows if each.target == name}
    place = loaded.origin.model or "a model in memory"
    return Calibration(place, address(str(data)), run.inputs, half, len(order) - half, rows, run.problems)


def _warn_of_worse(rows: Sequence[Temperature], fitted: int, tried: int) -> None:
    """Say in the log which targets are further from the truth with their temperature than without."""
    worse = [f"{each.target} ({each.of})" for each in rows if each.after.mean_loss > each.before.mean_loss]
    if worse:
        log.warning(
            "%s: with its temperature, fitted to %d samples, the loss is higher than without on the %d others;"
            " give more samples",
            ", ".join(worse),
            fitted,
            tried,
        )


def _first(problems: ProblemCounts) -> str:
    return next((each.examples[0] for each in problems), "it has no tokens of a target in both halves")


def _open(
    model: AnyModel,
    data: str | Path,
    inputs: Sequence[str] | None,
    targets: Sequence[str] | None,
    count: int | None,
) -> tuple[ValueSource, list[str], list[str]]:
    """The data with its inputs and targets. Raises as `calibrate`."""
    known = model.modalities
    photographs = [m.name for m in known if m.photographic][:1]
    read = list(inputs or photographs)
    if not read:
        raise GenerationError("the model reads no photographs: name the inputs")
    for name in read:
        if not known.input_streams(known[name].name):
            raise GenerationError(f"the model does not read {name!r}")
    made = list(targets or [name for name in known.targets if name not in read])
    for name in made:
        if known[name].name not in known.targets:
            raise GenerationError(f"the model does not make {name!r}{nearest(name, known.targets)}")
        if name in read:
            raise GenerationError(f"{name!r} is both an input and a target; leave out one")
    sources = {source for name in (*read, *made) for source in known[name].derived_from if source in known}
    values = open_values(data, [m for m in known if m.name in {*read, *made, *sources}], count=count)
    lacking = [name for name in (*read, *(targets or ())) if name not in values.found]
    found = [name for name in made if name in values.found]
    if lacking or not found:
        named = repr(lacking[0]) if lacking else "target of the model"
        raise GenerationError(f"{data} has no {named}; it has {', '.join(values.found) or 'none of its modalities'}")
    return values, read, found


class _Kept:
    """Logits and truths to fit to: of each sample as many places of a target, so that all count."""

    def __init__(self, samples: int) -> None:
        self.samples, self.rng = samples, np.random.default_rng(0)
        self.found: dict[Key, list[tuple[Tensor, Tensor]]] = {}

    def add(self, key: Key, logits: Tensor, truths: Tensor) -> None:
        """Keep some places of logits (n, V) and true ids (n,), of which there may be none."""
        if not len(truths):
            return
        most = max(1, ROOM // logits.shape[1] // self.samples)
        if len(truths) > most:
            chosen = torch.from_numpy(self.rng.permutation(len(truths))[:most]).to(truths.device)
            logits, truths = logits[chosen], truths[chosen]
        self.found.setdefault(key, []).append((logits, truths))

    def temperatures(self) -> dict[Key, float]:
        """The best temperature of each target."""
        joined = {key: [torch.cat(each) for each in zip(*parts, strict=True)] for key, parts in self.found.items()}
        return {key: fitted_temperature(logits, truths) for key, (logits, truths) in joined.items()}


class _Run:
    """What a model believes of samples of a dataset, and what is true."""

    def __init__(
        self,
        model: AnyModel,
        values: ValueSource,
        inputs: list[str],
        targets: list[str],
        samples: int,
        batch: int,
        seed: int,
    ) -> None:
        self.model, self.values, self.inputs, self.targets = model, values, inputs, targets
        self.how = Sampling(scheme="roar", steps=1, temperature=1.0, samples=samples)
        self.batch, self.seed, self.problems = batch, seed, ProblemCounts()

    def beliefs(self, numbers: np.ndarray, done: Any) -> Iterator[Belief]:
        """Logits (n, V) and true ids (n,) of each target of each of some samples."""
        for start in range(0, len(numbers), self.batch):
            part = numbers[start : start + self.batch].tolist()
            with torch.inference_mode():
                yield from self._batch(dict(self._read(part)))
            done(len(part))

    def _read(self, numbers: Sequence[int]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number in numbers:
            try:
                sample = self.values.read(number)
            except AnymodalError as error:
                self.problems.add("sample", type(error).__name__, one_line(error))
                continue
            if missing := [name for name in self.inputs if name not in sample]:
                self.problems.add(missing[0], "missing", f"{self.values.describe(number)} has no {missing[0]}")
                continue
            yield number, sample

    def _batch(self, samples: Mapping[int, Mapping[str, Any]]) -> Iterator[Belief]:
        """The beliefs of samples by their numbers."""
        if not samples:
            return
        known, layout = self.model.modalities, self.model.modalities.layout
        states = {
            number: SampleState(layout, known.condition({name: sample[name] for name in self.inputs}))
            for number, sample in samples.items()
        }
        read = [state.pack() for state in states.values()]
        context = self.model.transformer.encode(collate(read, layout, 1).to(self.model.device).inputs)
        for name in self.targets:
            rows = [row for row, sample in enumerate(samples.values()) if name in sample]
            if not rows:
                continue
            truths = [list(samples.values())[row][name] for row in rows]
            ids = [known.tokenize({name: truth})[name] for truth in truths]
            own = Context(context.tokens[rows], context.attended[rows])
            yield from self._tokens(name, ids, [read[row] for row in rows], own)
            modality = known[name]
            if isinstance(modality, (LabelMapModality, EdgeModality)):
                mine = {number: states[number] for number in [list(samples)[row] for row in rows]}
                yield from self._classes(modality, truths, mine)

    def _tokens(
        self, name: str, ids: Sequence[np.ndarray], read: Sequence[Packed], context: Context
    ) -> Iterator[Belief]:
        """What the model says of each token of one pass: of a grid without the others, of a text after those before."""
        layout = self.model.modalities.layout
        space = layout[name].space
        assert isinstance(space, TokenSpace)
        packed = []
        for own, inputs in zip(ids, read, strict=True):
            packer = Packer(layout)
            if layout[name].is_sequence:
                packer.add_sequence_target(name, np.concatenate([[space.sentinel(1)], own[: space.length]]))
            else:
                packer.add_grid_target(name, own, np.arange(len(own)))
            packed.append(Packed(inputs.inputs, packer.pack().targets))
        targets = collate(packed, layout, 1).to(self.model.device).targets
        assert targets is not None
        states = self.model.transformer.decode(targets, context)
        for row, labels in zip(states, targets.labels, strict=True):
            here = labels != NO_LABEL
            yield (name, IDS), self.model.transformer.logits(row[here], name).float(), labels[here]

    def _classes(
        self, modality: LabelMapModality | EdgeModality, truths: Sequence[Any], states: Mapping[int, SampleState]
    ) -> Iterator[Belief]:
        """What several draws say of the class of each pixel of which the truth is a class that the model has."""
        drawn = [state.copy() for state in states.values()]
        seeds = [self.seed + number for number in states]
        for _ in Sampler(self.model.transformer).run(drawn, [Target(modality.name, self.how)], seeds):
            pass
        for state, truth in zip(drawn, truths, strict=True):
            with blame(modality, "likely"):
                likely = modality.likely(list(state.streams[modality.name].draws))
            labels, known = modality.true_classes(truth)
            logits = np.log(np.maximum(likely, 1e-12)).transpose(1, 2, 0)[known]
            yield (modality.name, CLASSES), torch.from_numpy(logits), torch.from_numpy(labels[known])
