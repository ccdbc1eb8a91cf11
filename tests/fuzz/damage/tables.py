"""Parquet tables, and packed files."""

from __future__ import annotations

import gzip
import random
import zlib

from fuzz.damage.plain import plain
from fuzz.damage.tars import tar


def parquet(data: bytes, rng: random.Random) -> bytes:
    """The description at the end changed, with a length that fits; or what comes before it."""
    length = int.from_bytes(data[-8:-4], "little")
    if data[-4:] != b"PAR1" or not 0 < length <= len(data) - 12:
        return plain(data, rng)
    end = len(data) - 8 - length
    body, footer = data[:end], data[end:-8]
    if (kind := rng.randrange(4)) == 0:
        body = plain(body, rng)
    elif kind == 1:
        return data[:-8] + rng.choice((0, 1, length - 1, length + 1, 2**31, 2**32 - 1)).to_bytes(4, "little") + b"PAR1"
    else:
        footer = plain(footer, rng)
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def packed(data: bytes, rng: random.Random) -> bytes:
    """A tar that is packed: changed inside, or as it is."""
    try:
        inside = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return plain(data, rng)
    return gzip.compress(tar(inside, rng), mtime=0) if rng.random() < 0.6 else plain(data, rng)
