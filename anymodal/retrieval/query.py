"""From plain values of any modalities to the vector that an index is asked for, by the model it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymodal.data.jobs.loaded import ModelSource
from anymodal.errors import AnymodalError, DataError, GenerationError, nearest
from anymodal.outputs.run import fingerprint
from anymodal.retrieval.record import IndexRecord, ModelRecord, check_weights, refuse_other, source_record
from anymodal.retrieval.shards import unit

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


def model_record(model: AnyModel, by: str, source: ModelSource | None = None) -> ModelRecord:
    """Which model it is, by its files where it was loaded, and by its weights.

    `source` says how it was loaded where more than a name and a revision was given. Raises GenerationError if it does
    not generate the modality `by`.
    """
    if by not in model.modalities.targets:
        raise GenerationError(f"the model does not make {by!r}{nearest(by, model.modalities.targets)}")
    origin = model.origin
    if source is None and origin.model:
        source = ModelSource(origin.model, {"revision": origin.revision} if origin.revision else {})
    tokenizer = model.modalities[by].tokenizer
    return ModelRecord(
        name=origin.model,
        source=source_record(source) if source else {},
        tokenizer="" if tokenizer is None else tokenizer.fingerprint(),
        weights=fingerprint(model.transformer),
        dtype=str(model.transformer.input_table.dtype).removeprefix("torch."),
        modalities=tuple(m.name for m in model.modalities),
    )


def check_model(model: AnyModel, record: IndexRecord, folder: Path) -> None:
    """Raise DataError unless an index was made with this model."""
    if not record.by:
        raise DataError(f"{folder} holds vectors of no modality; ask it for vectors, with Index.search")
    try:
        given = model_record(model, record.by)
    except AnymodalError as error:
        raise DataError(f"{folder} cannot be asked with this model: {error}") from None
    refuse_other(given, record.model, folder)


def query_vector(
    model: AnyModel,
    by: str,
    inputs: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
    draws: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """The vector (channels,) of length 1 of a query; see `Index.query`."""
    check_weights(inputs, weights, draws, by)
    groups = [({name: value}, (weights or {}).get(name, 1.0)) for name, value in inputs.items()]
    if weights is None:
        groups = [(dict(inputs), 1.0)]
    whole = sum(weight * _vector(model, by, group, draws, seed) for group, weight in groups)
    try:
        return unit(np.asarray(whole)[None], "the query")[0]
    except AnymodalError:
        raise GenerationError("the weighted inputs cancel each other out; choose other weights") from None


def _vector(model: AnyModel, by: str, inputs: Mapping[str, Any], draws: int, seed: int) -> np.ndarray:
    """The vector of length 1 of inputs together: one that is given, or the predicted one."""
    if by in inputs:
        return unit(np.asarray(model.accept(inputs)[by])[None], by)[0]
    return drawn(model, [inputs], by, draws, seed)[0]


def drawn(model: AnyModel, inputs: list[Mapping[str, Any]], by: str, draws: int, seed: int) -> np.ndarray:
    """Vectors (samples, channels) of length 1: those that are expected, or the mean of several that are drawn."""
    if draws == 1:
        return unit(model.embed_batch(inputs, by, seed=seed), by)
    whole = sum(model.embed_batch(inputs, by, seed=seed + k, normalize=True, scheme="roar") for k in range(draws))
    return unit(np.asarray(whole), by)
