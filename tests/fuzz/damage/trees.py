"""Trees of plain values: JSON, JSON a line, YAML, the headers of safetensors."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import yaml

from fuzz.damage.arrays import SIDES
from fuzz.damage.plain import NUMBERS, ODD_TEXTS, ODD_VALUES, SMALL_VALUES, plain


def _places(value: Any, most: int = 400) -> list[tuple[Any, Any]]:
    """Containers and keys of the values in a tree, at most so many."""
    found: list[tuple[Any, Any]] = []
    queue = [value]
    while queue and len(found) < most:
        inside = queue.pop(0)
        items: Iterator[tuple[Any, Any]] = iter(())
        if isinstance(inside, dict):
            items = iter(inside.items())
        elif isinstance(inside, list):
            items = enumerate(inside[:50])
        for key, each in items:
            found.append((inside, key))
            if isinstance(each, (dict, list)):
                queue.append(each)
    return found


def tree(value: Any, rng: random.Random, values: tuple[Any, ...] = ODD_VALUES) -> Any:
    """A tree of plain values, which is given away, with one change."""
    if not (places := _places(value)):
        return copy.deepcopy(rng.choice(values))
    inside, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind <= 2:
        inside[key] = copy.deepcopy(rng.choice(values))
    elif kind == 3:
        del inside[key]
    elif kind == 4:
        other, name = rng.choice(places)
        inside[key] = copy.deepcopy(other[name])
    elif kind == 5 and isinstance(inside, dict):
        inside[rng.choice(ODD_TEXTS)] = inside.pop(key)
    elif kind == 6:
        inside[key] = [inside[key]] if rng.random() < 0.5 else {"a": inside[key]}
    elif isinstance(inside[key], (int, float)) and not isinstance(inside[key], bool) and abs(inside[key]) < 1e300:
        inside[key] = rng.choice((-inside[key], inside[key] + 1, inside[key] * 2, inside[key] / 2, inside[key] * 1000))
    elif isinstance(inside[key], str):
        inside[key] = plain(inside[key].encode("utf-8", "surrogatepass"), rng).decode("utf-8", "replace")
    elif isinstance(inside[key], list):
        inside[key] = inside[key] * rng.choice((0, 2, 50))
    return value


def as_json(data: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return plain(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = tree(value, rng)
    if rng.random() < 0.01:
        return b"[" * rng.choice((900, 5000, 100_000)) + data
    return json.dumps(value).encode("utf-8", "surrogatepass")


def as_yaml(data: bytes, rng: random.Random) -> bytes:
    try:
        value = yaml.load(data, yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return plain(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = tree(value, rng, SMALL_VALUES)
    if rng.random() < 0.02 and isinstance(value, dict):
        value["base"] = rng.choice(ODD_TEXTS)
    try:
        return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False).encode()
    except UnicodeEncodeError:  # halves of letters, which the slow one spells with a backslash
        return yaml.safe_dump(value, sort_keys=False).encode("utf-8", "surrogatepass")


def safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header changed: names, types, shapes, places; or its length."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return plain(data, rng)
    rest = data[8 + length :]
    if not isinstance(header, dict):
        return plain(data, rng)
    if (kind := rng.randrange(10)) == 0:
        return (rng.choice((*NUMBERS, length - 1, length + 8)) % 2**64).to_bytes(8, "little") + data[8:]
    entries = [each for each in header.values() if isinstance(each, dict) and {"dtype", "data_offsets"} <= {*each}]
    if kind <= 3 and entries:
        entry = rng.choice(entries)
        key = rng.choice(("dtype", "shape", "data_offsets"))
        if key == "dtype":
            entry[key] = rng.choice(
                ("F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "I32", "F8_E4M3", "C64", "x", "")
            )
        else:
            entry[key] = [rng.choice((*SIDES[:8], 2**40)) for _ in range(rng.choice((1, 2, 2, 3)))]
    elif kind == 4 and len(entries) > 1:
        one, two = rng.sample(entries, 2)
        one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]
    elif kind == 5:
        return data[: 8 + length] + plain(rest, rng)
    else:
        header = tree(header, rng)
    raw = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "little") + raw + rest


def lines(data: bytes, rng: random.Random) -> bytes:
    """Of JSON a line: one of them changed."""
    rows = data.split(b"\n")
    k = rng.randrange(len(rows))
    rows[k] = as_json(rows[k], rng) if rows[k] else rng.choice((b"{}", b"[]", b"\xff", b"1"))
    return b"\n".join(rows)
