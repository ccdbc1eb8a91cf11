"""From a batch to the outputs of its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.errors import GenerationError
from anymodal.generation import GenerationStep, SampleState
from anymodal.generation.batch import Batch
from anymodal.generation.keeping import Keep
from anymodal.generation.large import large_of
from anymodal.generation.plan import FINER, Weights, chosen_targets, finer_streams, make_plan
from anymodal.generation.rng import sample_seeds
from anymodal.model import Transformer
from anymodal.outputs.generated import Outputs
from anymodal.outputs.run import Origin, run_of
from anymodal.tokens import ModalitySet

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


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
    if outputs.run is not None and outputs.run.size:
        raise GenerationError("what was made with a size has no tokens of one picture and cannot be upscaled")
    finer = finer_streams(modalities, list(outputs), targets)
    values = modalities.accept({n: v for n, v in outputs.inputs.items() if n in modalities})
    tokens = modalities.condition(values) | outputs.tokens_for(modalities.layout)
    plan = [
        attrs.evolve(target, stream=finer[target.stream])
        for target in make_plan(modalities, list(finer), list(values), None, options, common, FINER)
    ]
    state = SampleState(modalities.layout, tokens)
    return Batch(modalities, [0], plan, [values], [state], sample_seeds(seed, 1)), finer


def in_tiles(
    model: AnyModel,
    inputs: Mapping[str, Any],
    targets: str | Sequence[str] | None,
    size: object,
    overlap: float,
    seed: int,
    common: Mapping[str, Any],
    *,
    chain: bool,
    weights: Weights | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    keep: Keep | None,
    progress: Callable[[GenerationStep], None] | None,
) -> Outputs:
    """The outputs of one sample whose pictures are of another size than the model's. Raises as `AnyModel.generate`."""
    if keep:
        raise GenerationError("keep is for pictures of the model's size: leave out size, or keep a part of a crop")
    modalities, (own,) = model.modalities, sample_seeds(seed, 1)
    names = chosen_targets(modalities, targets, inputs)
    plan = make_plan(modalities, names, list(inputs), weights, options, common)
    large = large_of(modalities, inputs, plan, size, overlap, own, chain)
    made, tokens = large.made(model.transformer, progress)
    run = attrs.evolve(
        run_of(model.origin, model.transformer, plan, chain, weights),
        seed=own,
        size=(large.tiles.width, large.tiles.height),
        overlap=float(overlap),
    )
    values = {name: each.value for name, each in made.items()}
    schemes = {name: each.how for name, each in made.items() if each.how}
    return Outputs(modalities, values, large.inputs, tokens, schemes, run)
