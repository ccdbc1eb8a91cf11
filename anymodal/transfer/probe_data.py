"""Samples for a probe, from pictures in a folder for each class or from an aligned dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.files.values import open_values
from anymodal.data.order import generator
from anymodal.data.sources.open import open_source
from anymodal.errors import AnymodalError, ConfigError, DataError, one_line
from anymodal.progress import task
from anymodal.transfer.class_folders import read_class_folders
from anymodal.transfer.frozen import StoredTokens
from anymodal.transfer.probing import Split

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


@attrs.frozen(eq=False)
class ProbeData:
    """What a probe learns from and is tried on.

    samples: accepted values by modality.
    labels: the class of each, or None where a modality of the samples is learned.
    splits: those that the data has, or None.
    problems: files and samples that were left out, with the reason.
    """

    samples: Sequence[Mapping[str, Any]]
    labels: Sequence[str] | None = None
    splits: Sequence[Split] | None = None
    problems: Sequence[str] = ()


def class_data(model: AnyModel, root: Path, name: str, count: int | None = None) -> ProbeData:
    """Pictures, of modality `name`, in folders of classes; `count`: only so many files of each class of a part.

    Raises DataError for what are no such folders, and where no file can be read.
    """
    found = read_class_folders(root, model.modalities[name].suffixes)
    problems = [f"{path} is no file of a class" for path in found.passed_over]
    seen: dict[tuple[str, bool], int] = {}
    samples, labels, learned = [], [], []
    with task("reading", len(found.files)) as now:
        for number, (path, label) in enumerate(zip(found.files, found.labels, strict=True)):
            now.advance(1)
            part = found.learned is None or found.learned[number]
            seen[label, part] = seen.get((label, part), 0) + 1
            if count is not None and seen[label, part] > count:
                continue
            try:
                samples.append(model.accept({name: path}))
            except AnymodalError as error:
                problems.append(one_line(error))
                continue
            labels.append(label)
            learned.append(part)
    if not samples:
        raise DataError(f"no file in {root} can be read: {problems[0] if problems else 'there is none'}")
    rows, of_train = np.arange(len(samples)), np.array(learned)
    splits = None if found.learned is None else [Split(rows[of_train], rows[~of_train])]
    return ProbeData(samples, labels, splits, problems)


def token_data(model: AnyModel, data: str, inputs: Sequence[str], to: str, count: int | None = None) -> ProbeData:
    """Samples of a tokenized dataset, or of another one that a training run reads, that have all `inputs` and `to`.

    Inputs enter the encoder as they are stored; the truth is what the tokens of `to` decode to. Of several crops one is
    taken, always the same.

    Raises DataError where the data has none, ConfigError where it lacks a modality.
    """
    sets = model.modalities
    source = open_source(DataConfig(path=data, modalities=(*inputs, to), count=count), sets)
    needed = [stream for name in inputs for stream in sets.input_streams(name)]
    if lacking := [stream for stream in (*needed, to) if stream not in source.streams]:
        raise ConfigError(f"{data} has no tokens of {lacking[0]!r}; it has {', '.join(sorted(source.streams))}")
    samples, problems = [], []
    with task("reading", len(source)) as now:
        for row in range(len(source)):
            now.advance(1)
            try:
                tokens = source.sample(row, generator(0, "probe", row))
                if missing := [stream for stream in (*needed, to) if stream not in tokens]:
                    problems.append(f"{source.describe(row)} has no {missing[0]}")
                    continue
                truth = model.detokenize({to: tokens[to]})[to]
            except AnymodalError as error:
                problems.append(one_line(error))
                continue
            stored = {name: StoredTokens({s: tokens[s] for s in sets.input_streams(name)}) for name in inputs}
            samples.append({**stored, to: truth})
    if not samples:
        raise DataError(f"no sample of {data} can be used: {problems[0] if problems else 'there is none'}")
    return ProbeData(samples, None, None, problems)


def grid_data(model: AnyModel, data: str, inputs: Sequence[str], to: str, count: int | None = None) -> ProbeData:
    """Samples of an aligned dataset that have all `inputs` and `to`, of which only the first `count` are looked at.

    Raises DataError where the data has none, ConfigError where it lacks a modality.
    """
    known = model.modalities.modalities
    wanted = [*inputs, to]
    sources = {source for name in wanted for source in known[name].derived_from if source in known}
    values = open_values(data, [known[name] for name in known if name in {*wanted, *sources}], count=count)
    if lacking := [name for name in wanted if name not in values.found]:
        raise ConfigError(f"{data} has no {lacking[0]!r}; it has {', '.join(values.found) or 'none of the modalities'}")
    samples, problems = [], []
    with task("reading", len(values)) as now:
        for row in range(len(values)):
            now.advance(1)
            try:
                sample = values.read(row)
            except AnymodalError as error:
                problems.append(one_line(error))
                continue
            if missing := [name for name in wanted if name not in sample]:
                problems.append(f"{values.describe(row)} has no {missing[0]}")
                continue
            samples.append({name: sample[name] for name in wanted})
    if not samples:
        raise DataError(f"no sample of {data} can be used: {problems[0] if problems else 'there is none'}")
    return ProbeData(samples, None, None, problems)
