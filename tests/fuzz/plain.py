"""Readers of our own that share no code with the product: strict, slow, for what they understand."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class NotPlain(Exception):
    """The file is not what such a reader understands, or is damaged."""


class Damaged(NotPlain):
    """The file is damaged for certain: whoever reads a value from it reads a wrong one."""


def read_png(data: bytes) -> np.ndarray:
    """The samples (H, W, channels) of a PNG that is not interlaced, as they are stored. Raises NotPlain, Damaged."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise NotPlain("no PNG")
    at, packed, head = 8, b"", b""
    while True:
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, check = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(check) < 4 or zlib.crc32(kind + body) != int.from_bytes(check, "big"):
            raise (Damaged if kind == b"IDAT" else NotPlain)("a damaged chunk")
        if (kind == b"IHDR" and head) or (kind == b"IDAT" and not head):
            raise NotPlain("chunks out of order")
        head = body if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        if kind == b"IEND":
            break
        at += 12 + length
    if len(head) != 13 or head[10:] != b"\0\0\0" or head[9] not in CHANNELS or head[8] not in (1, 2, 4, 8, 16):
        raise NotPlain("a header of another kind")
    width, height, bits = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big"), head[8]
    if not 0 < width * height <= 2**20 or (bits < 8 and head[9] not in (0, 3)) or (bits == 16 and head[9] == 3):
        raise NotPlain("sizes that do not go together")
    return _samples(packed, width, height, bits, CHANNELS[head[9]])


def _samples(packed: bytes, width: int, height: int, bits: int, channels: int) -> np.ndarray:
    stride, step = (width * bits * channels + 7) // 8, max(1, bits * channels // 8)
    try:
        raw = zlib.decompress(packed)
    except zlib.error as error:
        raise NotPlain("damaged pixels") from error
    if len(raw) < height * (stride + 1):
        raise Damaged("too few pixels")
    if len(raw) > height * (stride + 1):
        raise NotPlain("too many pixels")
    rows, above = [], bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above, step)
        rows.append(above)
    content = np.frombuffer(b"".join(rows), np.uint8).reshape(height, stride)
    if bits == 16:
        return content.view(">u2").reshape(height, width, channels).astype(np.uint16)
    if bits < 8:
        spread = np.unpackbits(content, axis=1).reshape(height, -1, bits)
        content = np.packbits(np.pad(spread, ((0, 0), (0, 0), (8 - bits, 0))), axis=2)[:, : width * channels, 0]
    return content.reshape(height, width, channels)


def _unfiltered(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    out = bytearray(row)
    for k in range(len(out)):
        left, up, corner = out[k - step] if k >= step else 0, above[k], above[k - step] if k >= step else 0
        if kind == 4:
            guess = left + up - corner
            near = [abs(guess - left), abs(guess - up), abs(guess - corner)]
            add = (left, up, corner)[near.index(min(near))]
        elif kind < 4:
            add = (0, left, up, (left + up) // 2)[kind]
        else:
            raise NotPlain("an unknown filter")
        out[k] = (out[k] + add) & 255
    return bytes(out)


SAFE_TYPES = {
    "F32": "<f4",
    "F64": "<f8",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "BOOL": "?",
    "U16": "<u2",
    "U32": "<u4",
}


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file. Raises NotPlain."""
    length = int.from_bytes(data[:8], "little")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        found, rest = {}, data[8 + length :]
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            array = np.frombuffer(rest[start:end], SAFE_TYPES[entry["dtype"]]).reshape(entry["shape"])
            found[name] = array
    except Exception as error:
        raise NotPlain("not readable") from error
    return found
