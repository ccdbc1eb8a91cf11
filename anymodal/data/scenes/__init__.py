"""Rendered rooms and outdoor places with exact labels: a dataset that is a pure function of (seed, index, size)."""

from __future__ import annotations

from . import furniture, nature, street, tabletop  # noqa: F401  (they fill the catalogue of kinds)
from .caption import mentions
from .kinds import BASIC, COLOURS, KINDS
from .records import FAR, Camera, Pose, Relation, Scene, SceneObject, Setting
from .scene import render
from .write import write

__all__ = [
    "BASIC", "COLOURS", "FAR", "KINDS", "Camera", "Pose", "Relation", "Scene", "SceneObject", "Setting", "mentions",
    "render", "write",
]  # fmt: skip
