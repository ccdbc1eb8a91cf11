"""Samples that are generated together: those that were given the same modalities, and so have the same plan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.config.arguments import DICTS, LIST, takes
from anymodal.errors import GenerationError, brief
from anymodal.generation.cut import tell_cut
from anymodal.generation.keeping import (
    Keep,
    Start,
    beginnings_of,
    check_keep,
    for_each,
    kept_for_each,
    partials_of,
    read_once,
    seen_once,
    tokens_of,
)
from anymodal.generation.plan import Target, Weights, chained, chosen_targets, make_plan
from anymodal.generation.run import GenerationStep
from anymodal.generation.sampler import Sampler
from anymodal.generation.state import SampleState
from anymodal.generation.values import Made, values_of
from anymodal.generation.views import Views
from anymodal.model import Transformer
from anymodal.partial import Partial
from anymodal.progress import task
from anymodal.tokens import ModalitySet, Packed, collate

if TYPE_CHECKING:
    from anymodal.checkpoints.record import Bundle

Result = tuple[int, dict[str, Made], Mapping[str, Any], dict[str, np.ndarray]]


@attrs.frozen(eq=False)
class Batch:
    """Samples of one plan.

    numbers: which samples of the request they are.
    plan: the targets in order.
    inputs: accepted values of each sample.
    states: what is known of each sample, into which the targets are generated.
    seeds: one a sample.
    chain: whether each target becomes a condition of the next.
    partials: what was given of targets of each sample, kept or to begin with; () where none has any.
    """

    modalities: ModalitySet
    numbers: Sequence[int]
    plan: Sequence[Target]
    inputs: Sequence[Mapping[str, Any]]
    states: Sequence[SampleState]
    seeds: Sequence[int]
    chain: bool = True
    partials: Sequence[Mapping[str, Partial]] = ()

    def steps(self, transformer: Transformer) -> Generator[GenerationStep]:
        """Generate the targets, step by step."""
        for step in Sampler(transformer).run(self.states, self.plan, self.seeds, self.chain):
            yield step.of(self.numbers[step.sample], self.modalities, self._partial(step.sample, step.target))

    def finished(self, transformer: Transformer, progress: Callable[[GenerationStep], None] | None) -> Iterator[Result]:
        """Generate all targets, show how far that is, tell `progress` every step, and yield the `results`."""
        with task("generating", len(self.plan) * len(self.numbers)) as now:
            for step in self.steps(transformer):
                now.advance(int(step.done), f"{step.target} {step.step}/{step.total}")
                if progress is not None:
                    progress(step)
            yield from self.results()

    def results(self) -> Iterator[Result]:
        """What was made of each sample by its number, and its inputs. Values of one target are decoded together."""
        generated = {t.stream: [state.streams[t.stream] for state in self.states] for t in self.plan}
        made = {}
        for name, tokens in generated.items():
            partials = [self._partial(k, name) for k in range(len(tokens))]
            made[name] = values_of(self.modalities, name, tokens, partials)
        for k, number in enumerate(self.numbers):
            ids = {name: tokens[k].values for name, tokens in generated.items()}
            yield number, {name: each[k] for name, each in made.items()}, self.inputs[k], ids

    def _partial(self, sample: int, name: str) -> Partial | None:
        """What was given of a target of a sample."""
        return self.partials[sample].get(name) if self.partials else None


def batches(
    bundle: Bundle,
    inputs: Sequence[Mapping[str, Any]],
    targets: str | Sequence[str] | None,
    seeds: Sequence[int],
    chain: bool | None,
    weights: Weights | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    common: Mapping[str, Any],
    keep: Keep | Sequence[Keep] | None = None,
    start: Start | Sequence[Start] | None = None,
) -> Iterator[Batch]:
    """The batches of a request; arguments and errors are those of `AnyModel.generate_batch`."""
    modalities = bundle.modalities
    for sample in inputs:
        if not isinstance(sample, Mapping) or not all(isinstance(name, str) for name in sample):
            raise GenerationError(f"inputs are a dict of values by modality, got {brief(sample)}")
    kept, begun = kept_for_each(keep, inputs), for_each("start", start, len(inputs))
    groups: dict[tuple[frozenset[str], ...], list[int]] = {}
    for number, sample in enumerate(inputs):
        groups.setdefault(tuple(map(frozenset, (sample, kept[number], begun[number]))), []).append(number)
    for (given, parts, starts), numbers in groups.items():
        names = chosen_targets(modalities, targets, given - parts)
        check_keep(parts, names, modalities)
        check_keep(starts, names, modalities, "start")
        whole = seen_once(names, parts, starts)
        plan = make_plan(modalities, names, given - parts, weights, options, common, seen_once=whole)
        values, partials, states = [], [], []
        for number in numbers:
            sample = inputs[number]
            if kept[number] or begun[number]:
                sample = read_once(modalities, sample)
            value = modalities.accept(sample)
            mine = partials_of(modalities, kept[number], sample, value)
            known = modalities.condition({name: each for name, each in value.items() if name not in mine})
            tell_cut(modalities, value, known)
            tokens = {name: tokens_of(partial) for name, partial in mine.items()}
            mine |= beginnings_of(modalities, begun[number], sample, parts)
            first = {name: partial.start for name, partial in mine.items() if partial.start is not None}
            states.append(SampleState(modalities.layout, {**known, **tokens}, first, Views(modalities, value)))
            values.append(value)
            partials.append(mine)
        own = [seeds[number] for number in numbers]
        together = chained(chain, bundle.chain, modalities, given - parts)
        yield Batch(modalities, numbers, plan, values, states, own, together, partials)


@takes(inputs=LIST)
def count_of(inputs: Sequence[Mapping[str, Any]]) -> int:
    """How many samples there are."""
    return len(inputs)


@takes(samples=DICTS)
def encoder_inputs(modalities: ModalitySet, samples: Sequence[Mapping[str, Any]]) -> Packed:
    """What the encoder reads of samples of plain values, in one batch. Raises as `ModalitySet.accept`."""
    values = [modalities.accept(sample) for sample in samples]
    given = [modalities.condition(value) for value in values]
    for value, tokens in zip(values, given, strict=True):
        tell_cut(modalities, value, tokens)
    states = [SampleState(modalities.layout, each) for each in given]
    return collate([state.pack() for state in states], modalities.layout, input_tokens=1)
