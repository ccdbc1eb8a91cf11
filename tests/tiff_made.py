"""TIFF files of every sample depth, byte order, arrangement and orientation, which no library here writes."""

from __future__ import annotations

import struct

import numpy as np

SHORT, LONG = (3, "H"), (4, "I")


def tiff(
    array: np.ndarray, bits: int = 8, photometric: int = 1, planar: int = 1, order: str = "<", sign: int = 1,
    orientation: int = 1, extra: tuple[int, ...] = (),
) -> bytes:  # fmt: skip
    """An uncompressed TIFF of (H, W) or (H, W, C).

    Args:
        array: the samples.
        bits: of a sample.
        photometric: 0 white is 0, 1 black is 0, 2 RGB, 5 CMYK, 8 Lab.
        planar: 1 channels side by side, 2 one after the other.
        order: "<" or ">", of the bytes.
        sign: 1 unsigned, 2 signed, 3 floats.
        orientation: as EXIF.
        extra: what the channels beyond the colors are: 1 or 2 alpha, 0 anything.
    """
    samples = np.asarray(array)
    height, width, channels = (*samples.shape, 1)[:3]
    samples = samples.reshape(height, width, channels)
    planes = [samples] if planar == 1 else [samples[..., k : k + 1] for k in range(channels)]
    strips = [_packed(plane, bits, order, sign) for plane in planes]
    tags = {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [bits] * channels), 259: (SHORT, [1]),
        262: (SHORT, [photometric]), 273: (LONG, [0] * len(strips)), 274: (SHORT, [orientation]),
        277: (SHORT, [channels]), 278: (LONG, [height]), 279: (LONG, [len(strip) for strip in strips]),
        284: (SHORT, [planar]), 339: (SHORT, [sign] * channels), **({338: (SHORT, list(extra))} if extra else {}),
    }  # fmt: skip
    beside = 8 + 2 + 12 * len(tags) + 4
    sizes = [struct.calcsize(f"{order}{len(values)}{code}") for (_, code), values in tags.values()]
    start = beside + sum(size + size % 2 for size in sizes if size > 4)
    tags[273] = (LONG, [start + sum(map(len, strips[:k])) for k in range(len(strips))])
    entries, blobs = b"", b""
    for tag, ((kind, code), values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        field = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(f"{order}I", beside + len(blobs))
        blobs += raw + b"\0" * (len(raw) % 2) if len(raw) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + blobs + b"".join(strips)


def _packed(plane: np.ndarray, bits: int, order: str, sign: int) -> bytes:
    """The samples of a plane (H, W, C) as they lie in a file; each row ends with a whole byte."""
    if bits in (8, 16, 32, 64):
        return plane.astype(f"{order}{ {1: 'u', 2: 'i', 3: 'f'}[sign] }{bits // 8}").tobytes()
    rows = b""
    for row in plane.reshape(len(plane), -1):
        text = "".join(f"{int(number):0{bits}b}" for number in row)
        text += "0" * (-len(text) % 8)
        rows += int(text, 2).to_bytes(len(text) // 8, "big")
    return rows


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """What people see of stored rows (H, W, ...) with an EXIF orientation (EXIF 2.32, section 4.6.4)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array[::-1] if orientation in (3, 4, 7, 8) else array
