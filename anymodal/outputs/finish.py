"""From a batch to the outputs of its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.config.arguments import DICT, FUNCTION, optional, takes
from anymodal.errors import GenerationError
from anymodal.generation import GenerationStep, SampleState
from anymodal.generation.batch import Batch, Result
from anymodal.generation.keeping import for_each
from anymodal.generation.large import large_of
from anymodal.generation.plan import FINER, Weights, chained, chosen_targets, finer_streams, make_plan
from anymodal.generation.rng import sample_seeds
from anymodal.generation.values import Made
from anymodal.model import Transformer
from anymodal.outputs.generated import Outputs
from anymodal.outputs.run import Origin, Run, run_of
from anymodal.tokens import ModalitySet

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


@takes(progress=optional(FUNCTION))
def finished(
    batch: Batch,
    transformer: Transformer,
    origin: Origin,
    progress: Callable[[GenerationStep], None] | None,
    weights: Weights | None = None,
    source: Mapping[str, np.ndarray] | None = None,
) -> dict[int, Outputs]:
    """Generate a batch: its outputs by the numbers of its samples.

    Args:
        batch: what is to be generated.
        transformer: of the model.
        origin: where the model is from.
        progress: is called after every step.
        weights: of inputs that guide, as the request has them.
        source: the tokens of other outputs that it is made from, of `upscale` alone.
    """
    run = _run_of(batch, transformer, origin, weights, source is not None)
    return _outputs(batch, batch.finished(transformer, progress), run, source)


def _run_of(batch: Batch, transformer: Transformer, origin: Origin, weights: Weights | None, finer: bool) -> Run:
    kept = batch.partials[0] if batch.partials else ()
    read = () if finer else dict.fromkeys(name for inputs in batch.inputs for name in inputs)
    return run_of(origin, transformer, batch.modalities, read, batch.plan, batch.chain, weights, finer, kept)


def _outputs(
    batch: Batch, made_of_each: Iterable[Result], run: Run, source: Mapping[str, np.ndarray] | None = None
) -> dict[int, Outputs]:
    seeds = dict(zip(batch.numbers, batch.seeds, strict=True))
    results: dict[int, Outputs] = {}
    for number, made, inputs, ids in made_of_each:
        mine = attrs.evolve(run, seed=seeds[number])
        results[number] = _outputs_of(batch.modalities, made, inputs, ids, mine, source)
    return results


def _outputs_of(
    modalities: ModalitySet,
    made: Mapping[str, Made],
    inputs: Mapping[str, Any],
    tokens: Mapping[str, np.ndarray],
    run: Run,
    source: Mapping[str, np.ndarray] | None = None,
) -> Outputs:
    """The outputs of one sample."""
    values = {name: each.value for name, each in made.items()}
    schemes = {name: each.how for name, each in made.items() if each.how}
    spread = {name: each.uncertainty for name, each in made.items() if each.uncertainty is not None}
    return Outputs(modalities, values, inputs, tokens, schemes, run, source, spread)


class Generation(Iterator[GenerationStep]):
    """A generation on its way: its steps, and what is made of them in the end.

    Nothing is computed between the steps, so whoever takes no more of them has ended it; `close` frees at once what it
    holds.
    """

    def __init__(self, batch: Batch, transformer: Transformer, origin: Origin, weights: Weights | None = None) -> None:
        self._batch, self._steps = batch, batch.steps(transformer)
        self._run = _run_of(batch, transformer, origin, weights, finer=False)
        self._over = self._closed = False

    def __next__(self) -> GenerationStep:
        try:
            return next(self._steps)
        except StopIteration:
            self._over = not self._closed
            raise
        except BaseException:  # also an interrupt: there are no further steps, and what was made is not whole
            self._closed = True
            raise

    def close(self) -> None:
        """End the generation where it is."""
        self._closed = not self._over
        self._steps.close()

    @cached_property
    def outputs(self) -> list[Outputs]:
        """Those of each seed, as `generate` returns them. Raises GenerationError before all steps were taken."""
        if not self._over:
            raise GenerationError("a generation has outputs when all of its steps were taken; take the rest of them")
        made = _outputs(self._batch, self._batch.results(), self._run)
        return [made[number] for number in self._batch.numbers]


def finer_batch(
    modalities: ModalitySet,
    outputs: Outputs,
    targets: str | Sequence[str] | None,
    seed: int,
    options: Mapping[str, Mapping[str, Any]] | None,
    common: Mapping[str, Any],
) -> tuple[Batch, dict[str, str]]:
    """The batch that makes finer values of outputs, and the stream of each. Raises as `AnyModel.upscale`."""
    if outputs.run is not None and outputs.run.size:
        raise GenerationError("what was made with a size has no tokens of one picture and cannot be upscaled")
    finer = finer_streams(modalities, list(outputs), targets)
    read = {name: value for name, value in outputs.inputs.items() if name in modalities and name not in outputs}
    values = modalities.accept(read)  # without what was given of a target, of which its tokens are another now
    tokens = modalities.condition(values) | outputs.tokens_for(modalities.layout)
    once = dict.fromkeys(finer, "it is made of tokens")
    plan = [
        attrs.evolve(target, stream=finer[target.stream])
        for target in make_plan(modalities, list(finer), list(values), None, options, common, FINER, seen_once=once)
    ]
    state = SampleState(modalities.layout, tokens)
    return Batch(modalities, [0], plan, [values], [state], sample_seeds(seed, 1)), finer


@takes(inputs=DICT, progress=optional(FUNCTION))
def in_tiles(
    model: AnyModel,
    inputs: Mapping[str, Any],
    targets: str | Sequence[str] | None,
    size: object,
    overlap: float,
    seed: int,
    common: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any] | None],
    *,
    chain: bool | None,
    weights: Weights | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    progress: Callable[[GenerationStep], None] | None,
) -> Outputs:
    """The outputs of one sample whose pictures are of another size than the model's. Raises as `AnyModel.generate`."""
    for option in (name for name, part in parts.items() if any(for_each(name, part, 1))):
        raise GenerationError(f"{option} is for pictures of the model's size: leave out size, or give a crop")
    modalities, (own,) = model.modalities, sample_seeds(seed, 1)
    names = chosen_targets(modalities, targets, inputs)
    once = dict.fromkeys(names, "it is made with a size")
    plan = make_plan(modalities, names, list(inputs), weights, options, common, seen_once=once)
    together = chained(chain, model.bundle.chain, modalities, list(inputs))
    large = large_of(modalities, inputs, plan, size, overlap, own, together)
    made, tokens = large.made(model.transformer, progress)
    run = attrs.evolve(
        run_of(model.origin, model.transformer, modalities, inputs, plan, together, weights),
        seed=own,
        size=(large.tiles.width, large.tiles.height),
        overlap=large.tiles.overlap,
    )
    return _outputs_of(modalities, made, large.inputs, tokens, run)
