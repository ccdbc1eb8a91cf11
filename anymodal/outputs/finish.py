"""From a batch to the outputs of its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from anymodal.generation import GenerationStep, SampleState
from anymodal.generation.batch import Batch
from anymodal.generation.plan import FINER, Weights, finer_streams, make_plan
from anymodal.generation.rng import sample_seeds
from anymodal.model import Transformer
from anymodal.outputs.generated import Outputs
from anymodal.outputs.run import Origin, run_of
from anymodal.tokens import ModalitySet


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
    kept = batch.partials[0] if batch.partials else ()
    run = run_of(origin, transformer, batch.plan, batch.chain, weights, source is not None, kept)
    seeds = dict(zip(batch.numbers, batch.seeds, strict=True))
    results: dict[int, Outputs] = {}
    for number, made, inputs, ids in batch.finished(transformer, progress):
        values = {name: each.value for name, each in made.items()}
        schemes = {name: each.how for name, each in made.items() if each.how}
        spread = {name: each.uncertainty for name, each in made.items() if each.uncertainty is not None}
        mine = attrs.evolve(run, seed=seeds[number])
        results[number] = Outputs(batch.modalities, values, inputs, ids, schemes, mine, source, spread)
    return results


def finer_batch(
    modalities: ModalitySet,
    outputs: Outputs,
    targets: str | Sequence[str] | None,
    seed: int,
    options: Mapping[str, Mapping[str, Any]] | None,
    common: Mapping[str, Any],
) -> tuple[Batch, dict[str, str]]:
    """The batch that makes finer values of outputs, and the stream of each. Raises as `AnyModel.upscale`."""
    finer = finer_streams(modalities, list(outputs), targets)
    values = modalities.accept({n: v for n, v in outputs.inputs.items() if n in modalities})
    tokens = modalities.condition(values) | outputs.tokens_for(modalities.layout)
    plan = [
        attrs.evolve(target, stream=finer[target.stream])
        for target in make_plan(modalities, list(finer), list(values), None, options, common, FINER)
    ]
    state = SampleState(modalities.layout, tokens)
    return Batch(modalities, [0], plan, [values], [state], sample_seeds(seed, 1)), finer
