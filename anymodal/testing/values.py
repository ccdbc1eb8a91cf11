"""Example values of any modality, named by kind and seed: a failure prints these and not fifty thousand numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.errors import AnymodalError, PluginError, sort_of
from anymodal.families import LabelMapModality, NumbersModality
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

KINDS = ("constant", "ramp", "edges", "extreme", "noise")
ODD = {"one pixel": (1, 1), "wide": (3, 40), "tall": (40, 3), "larger than the model's": (50, 70)}
TEXTS = {
    "one letter": "a",
    "empty": "",
    "markup": "a red car <b>on</b> a road & a dog",
    "long and not only English": " ".join(["ein größeres Haus 家"] * 8),
}


@attrs.frozen(eq=False)
class Example:
    """A natural value and how it was made."""

    kind: str
    seed: int
    value: Any = attrs.field(repr=False)

    def __str__(self) -> str:
        shape = getattr(self.value, "shape", None)
        return f"example {self.kind!r} of seed {self.seed}" + (f", shape {tuple(shape)}" if shape is not None else "")


def examples(modality: Modality, seed: int = 0) -> list[Example]:
    """Natural values of an instance, as a model of its size has them, small ones first.

    They are those of the modality's own `examples`, if it has any, else what its family and its space say.
    """
    rng = np.random.default_rng(seed)
    own = modality.examples(rng)
    if not isinstance(own, Mapping):
        raise PluginError(
            f"examples of modality {modality.name!r} returns a dict of natural values by kind, not {sort_of(own)}"
        )
    if not own:
        own = _by_family(modality, rng)
    return [Example(kind, seed, value) for kind, value in own.items()]


def odd_examples(modality: Modality, seed: int = 0) -> list[Example]:
    """Values that cover the picture in unusual shapes: one pixel, very wide, very tall; none of other modalities."""
    if not modality.sizes or not modality.aligned:
        return []
    rng, rest = np.random.default_rng(seed), _shape(modality)[2:]
    return [Example(kind, seed, _array(modality, "noise", rng, (*shape, *rest))) for kind, shape in ODD.items()]


def _by_family(modality: Any, rng: np.random.Generator) -> dict[str, Any]:
    if modality.is_text:
        return dict(TEXTS)
    if isinstance(modality, NumbersModality):
        return _numbers(modality, rng)
    if modality.spelled:
        return _parsed(modality, rng)
    return {kind: _array(modality, kind, rng, _shape(modality)) for kind in KINDS}


def _array(modality: Any, kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """An array of a kind, in the range of the modality."""
    unit = _unit(kind, rng, shape)
    if isinstance(modality, LabelMapModality):
        known = np.array(modality.known, np.uint8)
        return known[(unit * (len(known) - 1)).round().astype(int)]
    if modality.is_picture:
        low, high = modality.file_range or (0.0, 1.0)
        value = low + unit * (high - low)
        return value.round().astype(np.uint8) if _is_uint8(modality) else value.astype(np.float32)
    return (2 * unit - 1).astype(np.float32)


def _is_uint8(modality: Any) -> bool:
    return getattr(modality, "dtype", "") == "uint8"


def _unit(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from 0 to 1."""
    if kind == "constant":
        return np.full(shape, 0.25)
    if kind == "ramp":
        return np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    if kind == "edges":
        return ((np.indices(shape)[:2].sum(0) // 4) % 2).astype(float)
    return rng.integers(0, 2, shape) * 1.0 if kind == "extreme" else rng.random(shape)


def _shape(modality: Any) -> tuple[int, ...]:
    """The shape of a value at the model's size."""
    if isinstance(modality, LabelMapModality):
        return modality.size, modality.size
    if modality.is_picture:
        return (*modality.sizes[:1] * 2, *((modality.channels,) if modality.channels > 1 else ()))
    space = modality.streams()[0].space
    if width := getattr(space, "width", None):
        return min(space.length, 8), width
    if space.shape is not None:
        return *space.shape, modality.channels
    return (modality.channels,)


def _numbers(modality: NumbersModality, rng: np.random.Generator) -> dict[str, Any]:
    """None of the named numbers, all at their lowest, and all at random."""

    def drawn(field: Any) -> float:
        value = float(rng.uniform(field.low, min(field.high, field.low + 100 * field.step)))
        return value if field.bins or field.edges else round(value)

    return {
        "empty": {},
        "lowest": {name: field.low for name, field in modality.fields.items()},
        "all": {name: drawn(field) for name, field in modality.fields.items()},
    }


def _parsed(modality: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What the modality reads in texts of random value tokens, as far as it takes it.

    Their names are random too; where nothing is read in such texts, they follow one another, as v0 v1 v2 v0 v1 v2.
    """
    found: dict[str, Any] = {}
    for cycle in (0, 4, 3, 2):
        for count in (4, 16, 40) if cycle != 3 else (3, 15, 39):
            names = np.arange(count) % cycle if cycle else rng.integers(0, 4, count)
            words = zip(names, rng.integers(0, 200, count), strict=True)
            try:
                value = modality.accept(modality.parse(" ".join(f"v{int(k)}={int(v)}" for k, v in words)))
            except AnymodalError:
                continue
            found[f"{count} value tokens{f' by {cycle}' if cycle else ''}"] = value
        if any(modality.spell(value) for value in found.values()):
            return found
    return found
