"""Damage in pictures that Pillow reads past.

It looks at no checksum of the pixels of a PNG, and takes rows that are missing in a PNG or TIFF as zeros.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from anymodal.errors import ValueProblem

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
BLOCK = 1 << 20  # bytes that are unpacked at once


def pixel_data(picture: Image, name: str) -> tuple[bytes, list[bytes]] | None:
    """The header and the packed pixels of a PNG that is not decoded yet, their checksums compared; None for others.

    Raises ValueProblem for damage.
    """
    file = getattr(picture, "fp", None)
    if picture.format != "PNG" or file is None or not getattr(picture, "tile", None):
        return None
    place = file.tell()
    try:
        file.seek(0)
        header, packed = b"", []
        for kind, content in _chunks(file, name):
            if kind == b"IHDR" and not header:
                header = content
            elif kind == b"IDAT":
                packed.append(content)
    finally:
        file.seek(place)
    return header, packed


def _chunks(file: IO[bytes], name: str) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks of which pixels are made. Raises ValueProblem for damage and cuts."""
    end = file.seek(0, 2)
    file.seek(len(MARK))
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in (b"IHDR", b"IDAT"):
            file.seek(length + 4, 1)
            continue
        content, checksum = file.read(min(length, end)), file.read(4)  # a length may be more than memory holds
        if len(checksum) < 4:
            raise ValueProblem(f"{name} cannot be decoded, it is damaged or cut short: its pixels end too early")
        if checksum != zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big"):
            raise ValueProblem(f"{name} is damaged: a checksum of its pixels does not fit")
        yield kind, content


def check_rows(picture: Image, data: tuple[bytes, list[bytes]] | None, name: str) -> None:
    """Raise ValueProblem for a decoded PNG with fewer rows than it says; `data` is from `pixel_data`."""
    if data is None or not picture.width * picture.height:
        return
    last = max(0, picture.height - 1 - (data[0][12:13] == b"\1" and picture.height % 2))  # of the last pass, if several
    if not any(picture.crop((0, last, picture.width, last + 1)).tobytes()):  # zeros, as rows that were never there
        needed = _unpacked_size(data[0])
        if (there := _length(data[1], needed)) < needed:
            raise ValueProblem(f"{name} is damaged: {there} of {needed} bytes of its pixels are there")


def check_coverage(picture: Image, name: str) -> None:
    """Raise ValueProblem for a picture, not decoded yet, whose strips or tiles leave out a part of it.

    A TIFF may lack some, and a PNG state frames of an animation, of which the first is smaller than the picture.
    """
    tiles = getattr(picture, "tile", None)
    if picture.format not in ("TIFF", "PNG") or not tiles:
        return
    sizes: dict[str, int] = {}
    for _, (left, top, right, bottom), _, arguments in tiles:  # planes that lie one after the other have tiles each
        plane = str(arguments[0]) if isinstance(arguments, tuple) and arguments else ""
        sizes[plane] = sizes.get(plane, 0) + (right - left) * (bottom - top)
    if (there := min(sizes.values())) < (needed := picture.width * picture.height):
        raise ValueProblem(f"{name} is damaged: {there} of {needed} pixels are there")


def _unpacked_size(header: bytes) -> int:
    """Bytes of the rows of a picture, with the byte for the filter of each."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * CHANNELS[header[9]]
    passes = PASSES if header[12] == 1 else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _length(packed: list[bytes], most: int) -> int:
    """How many bytes are unpacked, counted up to `most`."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        for each in packed:
            while each and size < most and not unpacker.eof:
                size += len(unpacker.decompress(each, BLOCK))
                each = unpacker.unconsumed_tail
        if size < most and not unpacker.eof:
            size += len(unpacker.flush())
    except zlib.error:
        pass
    return size
