"""Thinking first: a modality that the model generates from the inputs of a sample, and then reads as one more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from anymodal.anymodel import AnyModel
from anymodal.errors import AnymodalError, ConfigError, DataError, nearest, system_errors
from anymodal.files import replacing
from anymodal.nn.distributed import World
from anymodal.outputs.fingerprint import Fingerprint, fingerprint
from anymodal.progress import task
from anymodal.transfer.tuning.samples import Source, Tokens
from anymodal.transfer.tuning.settings import ThinkConfig

PART = 64  # samples that are generated together, and kept in one file


def think(
    model: AnyModel, config: ThinkConfig, samples: Sequence[Mapping[str, Any]], seeds: Sequence[int]
) -> list[Tokens]:
    """The tokens of what the model generates from each sample of values, as the encoder reads them.

    Raises GenerationError or ConfigError where the model cannot generate that.
    """
    own: Any = {config.modality: config.options}
    made = model.generate_batch(samples, config.modality, seed=list(seeds), options=own)
    return [model.modalities.condition({config.modality: out[config.modality]}) for out in made]


def check_thought(model: AnyModel, config: ThinkConfig) -> None:
    """Raise ConfigError for a modality that the model cannot both generate and read."""
    able = [name for name in model.modalities.targets if model.modalities.input_streams(name)]
    if config.modality not in able:
        raise ConfigError(
            f"think.modality is {config.modality!r}{nearest(config.modality, able)}; the model generates and reads"
            f" {', '.join(able)}"
        )


def thinks_with(model: AnyModel, inputs: Sequence[str], config: ThinkConfig) -> Fingerprint:
    """What thoughts depend on: the model, and the modalities that it reads and makes."""
    return fingerprint(model.transformer, model.modalities, [*inputs, config.modality], [config.modality])


def thoughts_of(
    model: AnyModel,
    config: ThinkConfig,
    inputs: Sequence[str],
    source: Source,
    views: Sequence[bool],
    folder: Path,
    what: Mapping[str, Any],
    world: World,
) -> dict[tuple[int, bool], Tokens]:
    """What is thought of all samples, by number and whether they are mirrored; kept in files of `folder`.

    The first process generates what is not there yet from the `inputs`, all read it. `what` tells one dataset from
    another.

    Raises DataError for files that cannot be read or written.
    """
    facts = {"model": attrs.asdict(thinks_with(model, inputs, config)), "think": attrs.asdict(config), **what}
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    found: dict[tuple[int, bool], Tokens] = {}
    parts = [(view, first) for view in views for first in range(0, len(source), PART)]
    paths = {part: folder / f"{key}-{'mirrored' if part[0] else 'plain'}-{part[1]:08d}.safetensors" for part in parts}
    if world.is_first:
        with task(f"thinking of {config.modality}", len(parts)) as now:
            for (view, first), path in paths.items():
                if not path.is_file():
                    _write(_part(model, config, source, view, first), path)
                now.advance(1)
    world.wait()
    for (view, _), path in paths.items():
        for place, array in _read(path).items():
            index, _, stream = place.partition("/")
            tokens = found.setdefault((int(index), view), {})
            assert isinstance(tokens, dict)
            tokens[stream] = array
    return found


def _part(model: AnyModel, config: ThinkConfig, source: Source, view: bool, first: int) -> dict[str, np.ndarray]:
    """The thoughts of some samples in a row, by "INDEX/STREAM"; those that cannot be read have none."""
    samples, numbers = [], []
    for index in range(first, min(first + PART, len(source))):
        try:
            read = source.read(index, view)
        except AnymodalError:  # counted when it is trained on
            continue
        if read is not None:
            samples.append(read[0])
            numbers.append(index)
    tokens = think(model, config, samples, numbers) if samples else []
    return {f"{n}/{stream}": array for n, each in zip(numbers, tokens, strict=True) for stream, array in each.items()}


def _write(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    with system_errors(DataError, f"cannot write {path}"), replacing(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)


def _read(path: Path) -> dict[str, np.ndarray]:
    with system_errors(DataError, f"cannot read {path}"):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(f"{path} is damaged ({error}); remove it, and it is made again") from None
