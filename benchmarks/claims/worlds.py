"""Scenes and models that several claims share, kept in memory while a process works."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from anymodal_scenes import BASIC, Scene, render

import anymodal as am
from benchmarks.tiny21 import truths


@functools.cache
def model(name: str, modalities: tuple[str, ...] = ()) -> am.AnyModel:
    """A model by its name, with all of its modalities or some."""
    return am.load(name, modalities=modalities or None)


@functools.lru_cache(4)
def scenes(world: int, first: int, count: int) -> tuple[Scene, ...]:
    """Scenes of a seed as they are rendered."""
    return tuple(render(world, index, 64, BASIC) for index in range(first, first + count))


@functools.lru_cache(4)
def values(
    name: str, world: int, first: int, count: int, modalities: tuple[str, ...] = ()
) -> tuple[dict[str, Any], ...]:
    """The true values of modalities of a model, by default of all, of scenes of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(truths(model(name, modalities), Path(folder), count, world, first))
