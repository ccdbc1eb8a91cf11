"""Chunks of PNG, segments of JPEG, directories of TIFF."""

from __future__ import annotations

import random
import re
import struct
import zlib

from fuzz.damage.plain import NUMBERS, plain


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG: kind and content."""
    found, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def as_png(parts: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of chunks, with checksums that fit."""
    whole = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


EXTRA_CHUNKS = (
    b"tRNS",
    b"PLTE",
    b"gAMA",
    b"sBIT",
    b"iCCP",
    b"eXIf",
    b"tEXt",
    b"zTXt",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"pHYs",
)


def png(data: bytes, rng: random.Random) -> bytes:
    parts = chunks(data)
    if not data.startswith(b"\x89PNG") or len(parts) < 3:
        return plain(data, rng)
    k = rng.randrange(len(parts))
    kind = rng.randrange(6)
    if kind == 0:
        head = list(struct.unpack(">IIBBBBB", parts[0][1].ljust(13, b"\0")[:13]))
        which = rng.randrange(7)
        head[which] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 17, 255, 300)) % (2**31 if which < 2 else 256)
        if which < 2 and rng.random() < 0.3:
            head[which] = rng.choice((2**31 - 1, 65536, 20_000, 12_000))
        parts[0] = (b"IHDR", struct.pack(">IIBBBBB", *head))
    elif kind == 1:
        parts.insert(k, parts.pop(rng.randrange(len(parts))))
    elif kind == 2:
        parts.insert(k, parts[rng.randrange(len(parts))])
    elif kind == 3:
        parts[k] = (parts[k][0], plain(parts[k][1], rng))
    elif kind == 4:
        parts.insert(k, (rng.choice(EXTRA_CHUNKS), rng.randbytes(rng.choice((0, 1, 2, 6, 13, 40)))))
    else:
        parts = [(n, _repacked(d, rng) if n == b"IDAT" else d) for n, d in parts]
    return as_png(parts)


def _repacked(data: bytes, rng: random.Random) -> bytes:
    try:
        return zlib.compress(plain(zlib.decompress(data), rng), rng.randrange(10))
    except zlib.error:
        return plain(data, rng)


def jpeg(data: bytes, rng: random.Random) -> bytes:
    """A segment changed, lost, doubled or added."""
    places = [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]", data[:2000])]
    if not data.startswith(b"\xff\xd8") or len(places) < 3:
        return plain(data, rng)
    at = rng.choice(places[1:])
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at] + data[at + 2 + length :]
    if kind == 1:
        return data[:at] + data[at : at + 2 + length] + data[at:]
    if kind == 2:
        return data[: at + 4] + plain(data[at + 4 : at + 2 + length], rng) + data[at + 2 + length :]
    body = rng.choice((b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"Adobe", b"JFIF\0", b"MPF\0")) + rng.randbytes(
        rng.randrange(60)
    )
    return (
        data[:2]
        + b"\xff"
        + rng.choice((b"\xe0", b"\xe1", b"\xe2", b"\xee", b"\xfe"))
        + struct.pack(">H", len(body) + 2)
        + body
        + data[2:]
    )


TAGS = (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 338, 339, 34675)


def tiff(data: bytes, rng: random.Random) -> bytes:
    """An entry of the first directory gets another tag, type, count or value."""
    if data[:4] != b"II*\0":
        return plain(data, rng)
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    at = start + 2 + 12 * rng.randrange(max(1, min(count, 40)))
    content = bytearray(data)
    if at + 12 > len(content):
        return plain(data, rng)
    kind = rng.randrange(4)
    if kind == 0:
        content[at : at + 2] = struct.pack("<H", rng.choice(TAGS))
    elif kind == 1:
        content[at + 2 : at + 4] = struct.pack("<H", rng.randrange(20))
    else:
        place = at + (4 if kind == 2 else 8)
        content[place : place + 4] = struct.pack("<I", rng.choice((*NUMBERS[:16], *range(9))))
    return bytes(content)
