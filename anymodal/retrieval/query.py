"""From plain values of any modalities to the vector that an index is asked for, by the model it was made with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.anymodel import AnyModel
from anymodal.config.arguments import instance
from anymodal.data.jobs.model_source import ModelSource
from anymodal.errors import AnymodalError, ConfigError, DataError, GenerationError, nearest
from anymodal.modality import Modality
from anymodal.outputs.fingerprint import fingerprint
from anymodal.retrieval.record import (
    IndexRecord,
    ModelRecord,
    check_predicted,
    check_weights,
    no_vector,
    refuse_other,
    source_record,
)
from anymodal.retrieval.shards import unit

BATCH = 64  # samples that go through the model together
MODEL = instance("a model, as anymodal.load gives one", AnyModel)


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
        weights=fingerprint(model.transformer, model.modalities, makes=[by]),
        dtype=_dtype(model),
        modalities=tuple(m.name for m in model.modalities),
    )


def channels_of(modality: Modality) -> int:
    """The length of the vectors of a modality. Raises GenerationError where its values are none."""
    channels = getattr(modality, "channels", None)
    if modality.family != "vector" or not isinstance(channels, int):
        raise no_vector(modality.name)
    return channels


def reader(model: AnyModel, asked: str) -> tuple[dict[str, str], str]:
    """The hashes of what reads queries by modalities such as "caption+depth", and the numbers of the model."""
    return fingerprint(model.transformer, model.modalities, asked.split("+")).modalities, _dtype(model)


def _dtype(model: AnyModel) -> str:
    return str(model.transformer.input_table.dtype).removeprefix("torch.")


def check_model(model: AnyModel, record: IndexRecord, folder: Path) -> None:
    """Raise DataError unless an index was made with this model."""
    check_predicted(record, folder)
    try:
        given = model_record(model, record.by)
    except AnymodalError as error:
        raise DataError(f"{folder} cannot be asked with this model: {error}") from None
    refuse_other(given, record.model, folder)


def query_vectors(
    model: AnyModel,
    by: str,
    inputs: Sequence[Mapping[str, Any]],
    weights: Mapping[str, float] | None,
    draws: int,
    seed: int,
    calibrated: Callable[[np.ndarray, Iterable[str], AnyModel], np.ndarray],
) -> np.ndarray:
    """The vectors (queries, channels) of length 1 of several queries; see `Index.query_vectors`.

    `calibrated` moves vectors that were expected from some modalities together.
    """
    names = tuple(inputs[0]) if inputs else ()
    for each in inputs:
        check_weights(each, weights, draws, by)
        if set(each) != set(names):
            raise ConfigError(f"queries in one batch have the same modalities, got {list(names)} and {list(each)}")
    apart = weights is not None and bool(names)
    groups = [((name,), (weights or {}).get(name, 1.0)) for name in names] if apart else [(names, 1.0)]
    whole = np.zeros(())
    for group, weight in groups:
        parts = [{name: each[name] for name in group} for each in inputs]
        vectors = _vectors(model, by, parts, draws, seed)
        whole = whole + weight * (
            calibrated(vectors, group, model) if group and draws == 1 and by not in group else vectors
        )
    try:
        return unit(whole, "the query")
    except AnymodalError:
        raise GenerationError("the weighted inputs cancel each other out; choose other weights") from None


def _vectors(model: AnyModel, by: str, inputs: Sequence[Mapping[str, Any]], draws: int, seed: int) -> np.ndarray:
    """The vectors of length 1 of inputs together: those that are given, or the predicted ones."""
    if inputs and by in inputs[0]:
        return unit(np.stack([np.asarray(model.accept(each)[by]) for each in inputs]), by)
    return drawn(model, inputs, by, draws, seed)


def drawn(model: AnyModel, inputs: Sequence[Mapping[str, Any]], by: str, draws: int, seed: int) -> np.ndarray:
    """Vectors (samples, channels) of length 1: those that are expected, or the mean of several that are drawn."""
    if not inputs:
        return np.zeros((0, getattr(model.modalities[by], "channels", 0)), np.float32)
    found = [_drawn(model, inputs[k : k + BATCH], by, draws, seed) for k in range(0, len(inputs), BATCH)]
    return unit(np.concatenate(found), by)


def _drawn(model: AnyModel, inputs: Sequence[Mapping[str, Any]], by: str, draws: int, seed: int) -> np.ndarray:
    if draws == 1:
        return model.embed_batch(inputs, by, seed=seed)
    return sum(
        (model.embed_batch(inputs, by, seed=seed + k, normalize=True, scheme="roar") for k in range(draws)),
        np.zeros(()),
    )
