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
def model(name: str) -> am.AnyModel:
    """A model by its name."""
    return am.load(name)


@functools.lru_cache(4)
def scenes(world: int, first: int, count: int) -> tuple[Scene, ...]:
    """Scenes of a seed as they are rendered."""
    return tuple(render(world, index, 64, BASIC) for index in range(first, first + count))


@functools.lru_cache(4)
def values(name: str, world: int, first: int, count: int) -> tuple[dict[str, Any], ...]:
    """The true values of all modalities of a model, of scenes of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(truths(model(name), Path(folder), count, world, first))
