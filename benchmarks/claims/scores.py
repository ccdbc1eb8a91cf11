"""One number for how good predictions of a modality are, whatever the modality is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import anymodal as am


def headline(modality: am.Modality, made: Sequence[Any], true: Sequence[Any]) -> tuple[str, float]:
    """The first score of a modality over a list, with its name.

    Values that are numbers by name are scored by their error in standard deviations of the truth instead, a number that
    is missing as one that is off by one deviation: shares of names given say nothing of the numbers.
    """
    if all(isinstance(value, Mapping) and _numbers(value) for value in true):
        return "error", _error(made, true)
    scores = modality.score(list(made), list(true))
    name = next(iter(scores))
    return name, float(scores[name])


def _numbers(value: Mapping[str, Any]) -> bool:
    return all(isinstance(each, (int, float)) for each in value.values())


def _error(made: Sequence[Any], true: Sequence[Any]) -> float:
    errors = []
    for name in sorted({name for value in true for name in value}):
        pairs = [(p.get(name), t[name]) for p, t in zip(made, true, strict=True) if name in t]
        spread = float(np.std([t for _, t in pairs]))
        if spread > 0:
            errors.append(np.mean([1.0 if p is None else min(abs(p - t) / spread, 3.0) for p, t in pairs]))
    return float(np.mean(errors)) if errors else 0.0


def constants(values: Sequence[Any]) -> list[Any]:
    """What a constant answer may be, of values of training scenes: some of them, and for arrays their mean."""
    found = list(values[:20])
    first = values[0]
    if isinstance(first, np.ndarray) and all(np.shape(value) == first.shape for value in values):
        stack = np.stack(values).astype(np.float64)
        if first.dtype.kind == "f":
            found += [stack.mean(0).astype(first.dtype), np.median(stack, 0).astype(first.dtype)]
        elif first.ndim == 3:
            found.append(np.rint(stack.mean(0)).astype(first.dtype))
    return found
