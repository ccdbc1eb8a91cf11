"""Equality of natural values of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


def same(a: Any, b: Any, within: float = 0.0) -> bool:
    """Equal values of any kind, numbers up to a difference of `within`; NaN equals itself."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind in "biuf":
            return bool(np.allclose(a.astype(float), b.astype(float), rtol=0, atol=within, equal_nan=True))
        return bool((a == b).all())
    if type(a) is not type(b) and not (isinstance(a, (int, float)) and isinstance(b, (int, float))):
        return False
    if isinstance(a, float) or isinstance(b, float):
        return bool(abs(a - b) <= within or a == b or (a != a and b != b))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[k], b[k], within) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, within) for x, y in zip(a, b, strict=True))
    if attrs.has(type(a)):
        return all(same(getattr(a, f.name), getattr(b, f.name), within) for f in attrs.fields(type(a)))
    return bool(a == b)
