"""Pairs of a dataset from which an index learns how its queries lie: what is asked by, and the vector to be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.config.arguments import PLACE, instance, takes
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.schema import MAX_SAMPLES
from anymodal.errors import AnymodalError, ConfigError, DataError, ValueProblem, brief, counted, nearest, one_line
from anymodal.progress import task
from anymodal.retrieval.build import start_of
from anymodal.retrieval.calibration import LEAST_PAIRS, asked_by
from anymodal.retrieval.index import Index
from anymodal.retrieval.query import BATCH, MODEL, check_model, drawn
from anymodal.retrieval.record import whole_number
from anymodal.retrieval.shards import unit

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


@attrs.frozen
class Calibrated:
    """What came of calibrating by some modalities: how many pairs, and how many samples could not be used, and why."""

    asked: tuple[str, ...]
    pairs: int
    left_out: int
    reason: str = ""


@takes(index=instance("an Index", Index), model=MODEL, data=PLACE)
def calibrate_index(
    index: Index, model: AnyModel, data: str | Path, asked: Sequence[Sequence[str]], *, count: int = 1000
) -> list[Calibrated]:
    """Calibrate an index for queries by modalities that a dataset holds.

    What each sample is to find is the vector that it holds, or else the one that is predicted from its photograph.

    Args:
        index: what is calibrated; the data need not be in it.
        model: the one that the index was made with.
        data: an aligned dataset: folders, tars, or an address of such.
        asked: the modalities of each kind of query, such as (("caption",), ("caption", "depth")).
        count: how many samples are used, the first ones.

    Raises:
        ConfigError: the data has no such modality, or nothing to predict vectors from; or `count` is less than 20.
        ValueProblem: `asked` has something else than lists of names.
        DataError: fewer than 20 samples can be used; else as `Index.calibrate`.
        GenerationError: as `AnyModel.embed`.
    """
    if isinstance(asked, str) or not isinstance(asked, Iterable):
        raise ValueProblem(f"asked has lists of modalities, such as [['caption']], got {brief(asked)}")
    kinds = list(dict.fromkeys(tuple(asked_by(names).split("+")) for names in asked))
    if whole_number(count, "count", MAX_SAMPLES) < LEAST_PAIRS:
        raise ConfigError(f"count is at least {LEAST_PAIRS}, the pairs that a calibration needs, got {count}")
    check_model(model, index.record, index.folder)
    known, by = model.modalities.modalities, index.by
    wanted = {by, *(name for names in kinds for name in names), *(n for n, each in known.items() if each.photographic)}
    if unknown := wanted - set(known):
        name = min(unknown)
        raise ConfigError(f"the model has no modality {name!r}{nearest(name, known)}")
    sources = {source for name in wanted for source in known[name].derived_from if source in known}
    values = open_values(data, [known[name] for name in known if name in wanted | sources], count=count)
    start = start_of(values.found, by, model, str(data))
    for names in kinds:
        if lacking := [name for name in names if name not in values.found]:
            raise ConfigError(f"{data} has no {lacking[0]!r}; it has {', '.join(values.found)}")
    problems: list[str] = []
    targets = dict(_targets(model, values, start, by, problems))
    return [_calibrated(index, model, values, names, targets, list(problems)) for names in kinds]


def _calibrated(
    index: Index,
    model: AnyModel,
    values: ValueSource,
    names: tuple[str, ...],
    targets: Mapping[int, np.ndarray],
    problems: list[str],
) -> Calibrated:
    inputs, vectors = [], []
    for row, vector in targets.items():
        try:
            inputs.append(_held(values, row, names))
            vectors.append(vector)
        except AnymodalError as error:
            problems.append(one_line(error))
    if len(inputs) < LEAST_PAIRS:
        raise DataError(
            f"{counted(len(inputs), 'sample')} can be used for {'+'.join(names)}, and {LEAST_PAIRS} are needed"
            + (f": {problems[0]}" if problems else "")
        )
    index.calibrate(model, inputs, np.stack(vectors))
    return Calibrated(names, len(inputs), len(problems), next(iter(problems), ""))


def _targets(
    model: AnyModel, values: ValueSource, start: str, by: str, problems: list[str]
) -> Iterator[tuple[int, np.ndarray]]:
    """What each sample is to find, by its number."""
    with task("what is to be found", len(values)) as now:
        for first in range(0, len(values), BATCH):
            batch = {}
            for row in range(first, min(first + BATCH, len(values))):
                try:
                    batch[row] = _held(values, row, (start,))[start]
                except AnymodalError as error:
                    problems.append(one_line(error))
            if start == by:
                given = [model.modalities[by].accept(value) for value in batch.values()]
                yield from zip(batch, unit(np.stack(given), by) if given else (), strict=True)
            else:
                yield from zip(batch, drawn(model, [{start: value} for value in batch.values()], by, 1, 0), strict=True)
            now.advance(min(BATCH, len(values) - first))


def _held(values: ValueSource, row: int, names: Sequence[str]) -> dict[str, Any]:
    """The values of a sample. Raises DataError where it lacks one, or another AnymodalError where one is damaged."""
    read = values.read(row)
    if lacking := [name for name in names if name not in read]:
        raise DataError(f"{values.names[row]} has no {lacking[0]!r}")
    return {name: read[name] for name in names}
