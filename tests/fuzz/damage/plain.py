"""Changes of bytes that no format knows, and odd values for all of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

Change = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64)
ODD_TEXTS = (
    "",
    "a" * 5000,
    "\ud83d\ude00",
    "\ufeff",
    "\0",
    "\n",
    "../x",
    "/x",
    "nan",
    "[EOS]",
    "v0=1",
    "-1",
    "é",
    "True",
)
ODD_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        0.5,
        -0.0,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        2**31,
        2**63,
        2**64,
        10**400,
    ),
    *ODD_TEXTS,
    *([], {}, [[]], [None], [0, 0, 0, 0], {"a": 1}, [1e9] * 4, [[0.0] * 3] * 3),
)
SMALL_VALUES = tuple(v for v in ODD_VALUES if not (isinstance(v, int) and abs(v) > 2**64))


def plain(data: bytes, rng: random.Random) -> bytes:
    """One change of bytes that no format knows."""
    content = bytearray(data)
    at = rng.randrange(len(content) + 1)
    size = min(rng.choice((1, 1, 2, 4, 8, 32, 256)), max(1, len(content)))
    kind = rng.randrange(8)
    if kind == 0 and content:
        content[at % len(content)] ^= 1 << rng.randrange(8)
    elif kind == 1 and content:
        content[at % len(content)] = rng.choice((0, 1, 127, 128, 254, 255, 10, 32, 48, 34, 92))
    elif kind == 2:
        del content[at : at + size]
    elif kind == 3:
        content[at:at] = rng.randbytes(size)
    elif kind == 4:
        start = rng.randrange(len(content) + 1)
        content[at:at] = content[start : start + size]
    elif kind == 5:
        del content[at:]
    elif kind == 6:
        width = rng.choice((1, 2, 4, 8))
        number = rng.choice(NUMBERS) & (256**width - 1)
        content[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
    else:
        return _other_number(data, rng)
    return bytes(content)


def _other_number(data: bytes, rng: random.Random) -> bytes:
    """A decimal number in the content becomes another one."""
    if not (found := list(re.finditer(rb"-?[0-9]+", data))):
        return data
    match = rng.choice(found)
    return data[: match.start()] + str(rng.choice((-1, *NUMBERS))).encode() + data[match.end() :]


def any_of(*changes: Change) -> Change:
    """One of several changes, by chance."""
    return lambda data, rng: rng.choice(changes)(data, rng)
