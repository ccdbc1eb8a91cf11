"""What `manifest.json` of a dataset that was made shard by shard holds, checked before any of it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anymodal.errors import DataError, ValueProblem, brief
from anymodal.files import read_json

MAX_SAMPLES = 10_000_000  # of a shard
MAX_SIZE = 1 << 50
HASH = re.compile(r"[0-9a-f]{64}")
PART = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)?")

Check = Callable[[Any], bool]


def read_book(path: Path) -> dict[str, Any]:
    """The manifest or the plan of a dataset. Raises DataError, which names the file, for what is none."""
    book = read_any(path)
    if not isinstance(book, dict):
        raise DataError(f"{path} is damaged: it holds no JSON object")
    return book


def read_any(path: Path) -> Any:
    """What a JSON file of a dataset holds. Raises DataError, which names the file."""
    try:
        return read_json(path)
    except ValueProblem as error:
        raise DataError(str(error)) from None


def check_book(book: Mapping[str, Any], path: Path) -> None:
    """Raise DataError, which names the file, unless all that a manifest or a plan holds is as it has to be."""
    for name, fits in _BOOK.items():
        if name in book and not fits(book[name]):
            raise _damaged(path, name, book[name])
    for name in ("settings", "modalities"):
        if name not in book:
            raise DataError(f"{path} is damaged: it has no {name!r}; remove it, and the same command makes it again")
    for name, fits in _MANIFEST.items():
        if "files" in book and name not in book and name != "shards":
            raise DataError(f"{path} is damaged: it has no {name!r}; remove it, and the same command makes it again")
        if name in book and not fits(book[name]):
            raise _damaged(path, name, book[name])


def is_count(value: Any, most: int = MAX_SIZE) -> bool:
    """Whether a value is a whole number from 0 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _damaged(path: Path, name: str, value: Any) -> DataError:
    return DataError(
        f"{path} is damaged: {name!r} cannot be {brief(value, 60)}; remove it, and the same command makes it again"
    )


def _mapping(fits: Check) -> Check:
    def check(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(key, str) and fits(each) for key, each in value.items())

    return check


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_modality(value: Any) -> bool:
    streams = value.get("streams", []) if isinstance(value, dict) else None
    if not isinstance(streams, list) or not isinstance(value.get("settings", {}), dict):
        return False
    return all(isinstance(each, dict) and _is_part(each.get("name")) for each in streams)


def _is_part(value: Any) -> bool:
    return isinstance(value, str) and PART.fullmatch(value) is not None


def is_checksum(value: Any) -> bool:
    """Whether a value is the size and the sha256 of a file, by these names."""
    if not isinstance(value, dict) or value.keys() != {"size", "sha256"} or not is_count(value["size"]):
        return False
    return isinstance(value["sha256"], str) and HASH.fullmatch(value["sha256"]) is not None


def _is_shard(value: Any) -> bool:
    if not isinstance(value, dict) or not is_count(value.get("samples"), MAX_SAMPLES):
        return False
    empty = value.get("empty", [])
    return isinstance(empty, list) and all(is_count(row, value["samples"] - 1) for row in empty)


def _are_shards(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_shard, value))


def _are_inputs(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        return False
    shards = value.get("shards", [])
    return isinstance(shards, list) and all(map(_mapping(_is_text), shards))


_BOOK: dict[str, Check] = {
    "settings": lambda value: isinstance(value, dict),
    "modalities": _mapping(_is_modality),
    "inputs": _are_inputs,
}
_MANIFEST: dict[str, Check] = {
    "files": _mapping(is_checksum),
    "problems": is_count,
    "versions": _mapping(_is_text),
    "shards": _are_shards,
}
