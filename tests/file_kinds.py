"""Small valid files of every kind that people have, by name; the tests read them, and so does the table in the docs."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from tiff_made import tiff

import anymodal as am

RAMP = np.arange(16 * 16).reshape(16, 16)
COLORS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], -1).astype(np.uint8)


def png(array: np.ndarray, bits: int, color_type: int = 0) -> bytes:
    """A PNG of any sample depth; `array` is (H, W), or (H, W, C) for color types with several channels."""
    rows = b""
    for row in array.reshape(len(array), -1):
        packed = "".join(f"{int(v):0{bits}b}" for v in row)
        packed += "0" * (-len(packed) % 8)
        rows += b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, color_type, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def with_chunk(content: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content[:33] + chunk + content[33:]


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def palette() -> Image.Image:
    picture = Image.fromarray((RAMP % 4).astype(np.uint8), "L").convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    return picture


def several(kind: str) -> bytes:
    first, second = (Image.fromarray(array) for array in (GRAY, GRAY[::-1].copy()))
    return saved(first, kind, save_all=True, append_images=[second])


GRAY = (RAMP % 128).astype(np.uint8)
ALPHA = np.dstack([COLORS, np.where(RAMP < 128, 0, 255).astype(np.uint8)])

FILE_KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gray PNG, 1 bit": ("a.png", lambda: png(RAMP % 2, 1)),
    "gray PNG, 2 bits": ("a.png", lambda: png(RAMP % 4, 2)),
    "gray PNG, 4 bits": ("a.png", lambda: png(RAMP % 16, 4)),
    "gray PNG, 8 bits": ("a.png", lambda: png(GRAY, 8)),
    "gray PNG, 16 bits": ("a.png", lambda: png(RAMP, 16)),
    "gray PNG, 16 bits, alpha": ("a.png", lambda: png(np.dstack([RAMP, RAMP * 0 + 65535]), 16, 4)),
    "palette PNG": ("a.png", lambda: saved(palette(), "PNG")),
    "RGB PNG": ("a.png", lambda: saved(Image.fromarray(COLORS), "PNG")),
    "RGB PNG, three equal channels": ("a.png", lambda: saved(Image.fromarray(np.dstack([GRAY] * 3)), "PNG")),
    "RGB PNG with transparent parts": ("a.png", lambda: saved(Image.fromarray(ALPHA), "PNG")),
    "RGB JPEG": ("a.jpg", lambda: saved(Image.fromarray(COLORS), "JPEG")),
    "gray JPEG": ("a.jpg", lambda: saved(Image.fromarray(GRAY), "JPEG")),
    "CMYK JPEG": ("a.jpg", lambda: saved(Image.fromarray(COLORS).convert("CMYK"), "JPEG")),
    "RGB WebP": ("a.webp", lambda: saved(Image.fromarray(COLORS), "WEBP")),
    "gray TIFF, 16 bits": ("a.tif", lambda: saved(Image.fromarray(RAMP.astype(np.uint16)), "TIFF")),
    "float TIFF": ("a.tif", lambda: saved(Image.fromarray((RAMP / 256).astype(np.float32)), "TIFF")),
    "lossless WebP": ("a.webp", lambda: saved(Image.fromarray(COLORS), "WEBP", lossless=True)),
    "GIF": ("a.gif", lambda: saved(Image.fromarray(GRAY), "GIF")),
    "GIF of two pictures": ("a.gif", lambda: several("GIF")),
    "gray BMP": ("a.bmp", lambda: saved(Image.fromarray(GRAY), "BMP")),
    "RGB PNG, 16 bits": ("a.png", lambda: png(COLORS.astype(int) * 257, 16, 2)),
    "palette PNG with a transparent color": ("a.png", lambda: saved(palette(), "PNG", transparency=0)),
    "PNG of two pictures": ("a.png", lambda: several("PNG")),
    "gray TIFF, 4 bits": ("a.tif", lambda: tiff(RAMP % 16, 4)),
    "gray TIFF, 12 bits": ("a.tif", lambda: tiff(RAMP, 12)),
    "gray TIFF, 32 bits": ("a.tif", lambda: tiff(RAMP % 128, 32)),
    "gray TIFF, signed 8 bits": ("a.tif", lambda: tiff(-RAMP % 128, 8, sign=2)),
    "gray TIFF, 0 is white": ("a.tif", lambda: tiff(GRAY, photometric=0)),
    "gray TIFF, lying on its side": ("a.tif", lambda: tiff(GRAY[:8], orientation=6)),
    "gray TIFF, compressed as JPEG": ("a.tif", lambda: saved(Image.fromarray(GRAY), "TIFF", compression="jpeg")),
    "TIFF of two pictures": ("a.tif", lambda: several("TIFF")),
    "RGB TIFF, planes of 16 bits": ("a.tif", lambda: tiff(COLORS.astype(int) * 257, 16, 2, 2)),
    "PGM of 20 levels": ("a.pgm", lambda: b"P5 4 3 20\n" + bytes(range(12))),
    "NPY, uint8 (16, 16)": ("a.npy", lambda: npy(GRAY)),
    "NPY, uint8 (16, 16, 3)": ("a.npy", lambda: npy(COLORS)),
    "NPY, float32 (16, 16)": ("a.npy", lambda: npy((RAMP / 256).astype(np.float32))),
    "NPY, float32 (16, 16, 3)": ("a.npy", lambda: npy((COLORS / 255).astype(np.float32))),
    "NPY, big-endian float32 (16, 16)": ("a.npy", lambda: npy((RAMP / 256).astype(">f4"))),
    "NPY, bool (16, 16)": ("a.npy", lambda: npy(GRAY > 60)),
    "text": ("a.txt", lambda: b"a red car on a road\n"),
    "JSON": ("a.json", lambda: json.dumps("a red car on a road").encode()),
}


def what_is_read(value: object) -> str:
    """A value in a few words: its type, and of an array shape and range."""
    if isinstance(value, np.ndarray):
        low, high = value.min(), value.max()
        return f"{value.dtype} {low:.4g}..{high:.4g}"
    if isinstance(value, str):
        return "str"
    return f"{len(value)} entries" if isinstance(value, (list, dict)) else type(value).__name__


def table(names: list[str], folder: object) -> list[list[str]]:
    """Rows of the table in the docs: a kind of file, and for each modality what is read, or why it is refused."""
    from pathlib import Path

    rows = []
    for kind, (name, make) in FILE_KINDS.items():
        path = Path(str(folder)) / name
        path.write_bytes(make())
        row = [kind]
        for each in names:
            modality = am.registry().modality(each)()
            try:
                row.append(what_is_read(modality.read(path)))
            except am.ValueProblem:
                row.append("refused")
        rows.append(row)
    return rows
