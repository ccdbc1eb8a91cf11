"""Example values of any modality, named by kind and seed: a failure prints these and not fifty thousand numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from anymodal.errors import AnymodalError
from anymodal.families import ImageModality, LabelMapModality, StructuredModality, TextModality
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

KINDS = ("constant", "ramp", "extreme", "noise")
TEXTS = ("", "a", "a red car <b>on</b> a road & a dog", "ein größeres Haus 家 " * 8)


@attrs.frozen(eq=False)
class Example:
    """A natural value and how it was made."""

    kind: str
    seed: int
    value: Any = attrs.field(repr=False)

    def __str__(self) -> str:
        shape = getattr(self.value, "shape", None)
        return f"{self.kind} of seed {self.seed}" + (f", shape {tuple(shape)}" if shape is not None else "")


def examples(modality: Modality, seed: int = 0) -> list[Example]:
    """Natural values of an instance: those of its own ``examples(rng)`` (by kind) if it has one, else of its family."""
    own = getattr(modality, "examples", None)
    if own is not None:
        return [Example(kind, seed, value) for kind, value in own(np.random.default_rng(seed)).items()]
    if isinstance(modality, TextModality):
        return [Example(f"text {i}", seed, text) for i, text in enumerate(TEXTS)]
    if isinstance(modality, StructuredModality):
        return _parsed(modality, seed)
    return [Example(kind, seed, _array(modality, kind, np.random.default_rng(seed))) for kind in KINDS]


def _array(modality: Any, kind: str, rng: np.random.Generator) -> np.ndarray:
    shape = _shape(modality)
    unit: np.ndarray = {
        "constant": lambda: np.full(shape, 0.25),
        "ramp": lambda: np.linspace(0, 1, int(np.prod(shape))).reshape(shape),
        "extreme": lambda: rng.integers(0, 2, shape) * 1.0,
        "noise": lambda: rng.random(shape),
    }[kind]()
    if isinstance(modality, LabelMapModality):
        known = np.array(modality.known, np.uint8)
        return known[(unit * (len(known) - 1)).round().astype(int)]
    if isinstance(modality, ImageModality):
        value = modality.low + unit * (modality.high - modality.low)
        return value.round().astype(np.uint8) if modality.dtype == "uint8" else value.astype(np.float32)
    return (2 * unit - 1).astype(np.float32)


def _shape(modality: Any) -> tuple[int, ...]:
    if isinstance(modality, LabelMapModality):
        return modality.size, modality.size
    if isinstance(modality, ImageModality):
        return (modality.size, modality.size) + ((modality.channels,) if modality.channels > 1 else ())
    space = modality.streams()[0].space
    if width := getattr(space, "width", None):
        return min(space.length, 8), width
    if space.shape is not None:
        return *space.shape, modality.channels
    return (modality.channels,)


def _parsed(modality: StructuredModality, seed: int) -> list[Example]:
    """What the modality reads in texts of random value tokens, as far as it takes it."""
    found = []
    for count in (4, 16, 40):
        rng = np.random.default_rng([seed, count])
        pairs = zip(rng.integers(0, 4, count), rng.integers(0, 200, count), strict=True)
        text = " ".join(f"v{int(k)}={int(v)}" for k, v in pairs)
        try:
            value = modality.accept(modality.parse(text))
        except AnymodalError:
            continue
        found.append(Example(f"{count} value tokens", seed, value))
    return found
