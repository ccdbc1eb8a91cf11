"""JSON files with one value changed at a time, for the tests of what reads such files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any


def with_each_value_changed(text: str, leaves: Sequence[Any]) -> Iterator[str]:
    """The text of a JSON file with each of its values, but the whole, replaced by each of the leaves."""
    for place in list(_places(json.loads(text)))[1:]:
        for leaf in leaves:
            changed = json.loads(text)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = leaf
            yield json.dumps(changed)


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield from _places(each, (*at, key))
