"""From a batch to the outputs of its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from anymodal.generation import GenerationStep
from anymodal.generation.batch import Batch
from anymodal.model import Transformer
from anymodal.outputs.generated import Outputs
from anymodal.outputs.run import Origin, run_of


def finished(
    batch: Batch,
    transformer: Transformer,
    origin: Origin,
    progress: Callable[[GenerationStep], None] | None,
    weights: Mapping[str, float] | None = None,
    finer: bool = False,
) -> dict[int, Outputs]:
    """Generate a batch: its outputs by the numbers of its samples.

    Args:
        batch: what is to be generated.
        transformer: of the model.
        origin: where the model is from.
        progress: is called after every step.
        weights: of inputs that guide, as the request has them.
        finer: whether it is made from the tokens of other outputs.
    """
    run = run_of(origin, transformer, batch.plan, weights, finer)
    seeds = dict(zip(batch.numbers, batch.seeds, strict=True))
    return {
        number: Outputs(batch.modalities, values, inputs, ids, schemes, attrs.evolve(run, seed=seeds[number]))
        for number, values, inputs, ids, schemes in batch.finished(transformer, progress)
    }
