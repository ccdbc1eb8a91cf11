"""Scenes and models that several claims share, kept in memory while a process works; tokens are kept in files.

What was made with a model is kept in a folder of its weights: a name may stand for others tomorrow.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from anymodal_scenes import BASIC, Scene, render
from safetensors.numpy import load_file, save_file

import anymodal as am
from anymodal.data.digest import digest
from anymodal.files import replacing
from anymodal.outputs.fingerprint import fingerprint
from benchmarks.tiny21 import truths

WORK = Path("out/claims")
PART = 100  # scenes whose tokens are in one file
Tokens = dict[str, np.ndarray]


@functools.cache
def model(name: str, modalities: tuple[str, ...] = ()) -> am.AnyModel:
    """A model by its name, with all of its modalities or some."""
    return am.load(name, modalities=modalities or None)


@functools.cache
def weights(name: str) -> str:
    """The digest of the fingerprint of a model and of all its modalities, read and made."""
    own = model(name)
    names = [modality.name for modality in own.modalities]
    whole = fingerprint(own.transformer, own.modalities, names, own.modalities.targets, names)
    return digest(attrs.asdict(whole))


def kept(name: str) -> Path:
    """Where what was made with a model is kept."""
    return WORK / weights(name)[:16]


def side(name: str) -> int:
    """Pixels of the pictures that a model sees."""
    return model(name, ("rgb",)).modalities["rgb"].size


@functools.lru_cache(4)
def scenes(world: int, first: int, count: int, side: int) -> tuple[Scene, ...]:
    """Scenes of a seed as they are rendered, with pictures of `side` pixels."""
    return tuple(render(world, index, side, BASIC) for index in range(first, first + count))


@functools.lru_cache(4)
def values(
    name: str, world: int, first: int, count: int, modalities: tuple[str, ...] = ()
) -> tuple[dict[str, Any], ...]:
    """The true values of modalities of a model, by default of all, of scenes of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(truths(model(name, modalities), Path(folder), count, world, first))


@functools.lru_cache(2)
def tokens(name: str, world: int, count: int) -> tuple[Tokens, ...]:
    """The tokens of the first scenes of a seed, by stream: of their pixels and of all that a model generates.

    Scenes are rendered and tokenized once, and kept in files.
    """
    found: list[Tokens] = []
    for first in range(0, count, PART):
        path = kept(name) / "tokens" / f"{world}-{first}.safetensors"
        if not path.is_file():
            _write(_tokenized(name, world, first), path)
        found += _read(path)
    return tuple(found[:count])


def _tokenized(name: str, world: int, first: int) -> list[Tokens]:
    sets = model(name).modalities
    kept = {*sets.targets, "rgb"}
    samples = ({key: value for key, value in s.items() if key in kept} for s in values(name, world, first, PART))
    return [sets.tokenize(sample) for sample in samples]


def _write(samples: Sequence[Tokens], path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    for stream in samples[0]:
        arrays[stream] = np.concatenate([sample[stream] for sample in samples])
        arrays[f"{stream}/lengths"] = np.array([len(sample[stream]) for sample in samples])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as made:
        save_file(arrays, made)


def _read(path: Path) -> list[Tokens]:
    arrays = load_file(path)
    streams = [name for name in arrays if not name.endswith("/lengths")]
    parts = {name: np.split(arrays[name], np.cumsum(arrays[f"{name}/lengths"])[:-1]) for name in streams}
    return [{name: parts[name][k] for name in streams} for k in range(PART)]
