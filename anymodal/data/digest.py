"""Settings that JSON can hold: their hash, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any


def digest(value: Any) -> str:
    """The sha256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """What differs between two values that JSON can hold, in words."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*new, *old]):
            yield from differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))
    elif old != new and json.dumps(old) != json.dumps(new):  # JSON has no tuples
        yield f"{place} was {_short(old)}, is {_short(new)}"


def changes(old: Any, new: Any) -> str:
    """The first three differences, and how many more there are; an empty string where there are none."""
    found = list(differences(old, new))
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return f"{'; '.join(found[:3])}{more}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}...{text[-4:]}"
