"""One number for how good predictions of a modality are, whatever the modality is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import anymodal as am

LEVELS = (15, 31, 47, 63, 79, 95, 127)  # above which a pixel counts as an edge


def headline(modality: am.Modality, made: Sequence[Any], true: Sequence[Any]) -> tuple[str, float]:
    """A score of a modality over a list that no constant can make perfect, with its name: mostly its first one.

    Values that are numbers by name are scored by their error in standard deviations of the truth, a number that is
    missing as one that is off by one deviation: shares of names given say nothing of the numbers. Things that are found
    are scored by F1, for who sees people everywhere finds all; boxes by the precision at an overlap of a half; edges by
    F1 at the best of `LEVELS` over the list (ODS, Martin et al. 2004), for an expected edge is rarely above a half.
    """
    if all(isinstance(value, Mapping) and _numbers(value) for value in true):
        return "error", _error(made, true)
    scores = modality.score(list(made), list(true))
    if "edge_f1" in scores:
        cut = [[255 * (np.asarray(value) > level).astype(np.uint8) for value in made] for level in LEVELS]
        return "edge_f1", max(modality.score(each, list(true))["edge_f1"] for each in cut)
    if "found" in scores:
        given, wanted = (sum(map(len, values)) for values in (made, true))
        return "found_f1", 2 * scores["found"] * wanted / max(given + wanted, 1)
    name = "ap50" if "ap50" in scores else next(iter(scores))
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
