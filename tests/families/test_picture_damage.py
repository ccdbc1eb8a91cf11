"""Damage in pictures that Pillow reads past."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from file_kinds import png as as_any_png
from fuzz.damage.pictures import as_png, chunks
from PIL import Image

from anymodal.errors import ValueProblem
from anymodal.families.picture_files import read_picture, upright


def made(mode: str = "L", size: tuple[int, int] = (24, 17), **options: object) -> bytes:
    """A PNG of which the last rows are zeros."""
    pixels = np.random.default_rng(0).integers(0, 5, (size[1], size[0], 3), np.uint8)
    pixels[-3:] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG", **options)
    return file.getvalue()


def with_rows(data: bytes, share: float) -> bytes:
    """The file with fewer rows, packed as a whole stream with checksums that fit."""
    raw = zlib.decompress(b"".join(content for kind, content in chunks(data) if kind == b"IDAT"))
    height = int.from_bytes(data[20:24], "big")
    rows = len(raw) // height * int(height * share)
    parts = [(kind, zlib.compress(raw[:rows]) if kind == b"IDAT" else content) for kind, content in chunks(data)]
    return as_png(parts)


def read(data: bytes, folder) -> np.ndarray:
    path = folder / "a.png"
    path.write_bytes(data)
    return np.asarray(read_picture(path))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_missing_rows_are_damage_and_zeros_are_not(mode, tmp_path):
    whole = made("L" if mode == "I;16" else mode)
    if mode == "I;16":
        whole = as_any_png(np.pad(np.arange(9, dtype=np.uint16).reshape(3, 3), ((0, 2), (0, 0))), 16)
    read(whole, tmp_path)
    for share in (0.2, 0.6, 0.95):
        with pytest.raises(ValueProblem, match=r"a\.png is damaged: \d+ of \d+ bytes of its pixels are there"):
            read(with_rows(whole, share), tmp_path)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 17), (5, 8), (33, 64)])
def test_interlaced_pictures_are_counted_by_their_passes(size, tmp_path):
    width, height = size
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    passes = [(len(range(y, height, down)), len(range(x, width, across))) for x, y, across, down in starts]
    raw = b"".join(b"\0" * rows * (1 + columns) for rows, columns in passes if columns)
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 1))
    assert not read(as_png([(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]), tmp_path).any()


def test_every_bit_that_is_flipped_in_the_pixels_is_seen(tmp_path):
    data = made()
    start = data.index(b"IDAT") + 4
    end = start + int.from_bytes(data[start - 8 : start - 4], "big")
    rng = random.Random(0)
    for at in rng.sample(range(start, end), min(60, end - start)):
        changed = bytearray(data)
        changed[at] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueProblem, match=r"a\.png is damaged: a checksum of its pixels does not fit"):
            read(bytes(changed), tmp_path)


def test_the_length_of_a_chunk_takes_no_memory(tmp_path):
    data = made()
    at = data.index(b"IDAT") - 4
    tracemalloc.start()
    try:
        with pytest.raises(ValueProblem, match="damaged or cut short"):
            read(data[:at] + (2**31 - 1).to_bytes(4, "big") + data[at + 4 :], tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_pictures_that_others_opened_are_looked_at_as_well():
    with pytest.raises(ValueProblem, match="the picture is damaged"):
        upright(Image.open(io.BytesIO(with_rows(made(), 0.5))))
    picture = Image.open(io.BytesIO(made()))
    picture.load()
    assert upright(picture).size == (24, 17)


@pytest.mark.parametrize("planes", [1, 2])
def test_strips_of_a_tiff_that_leave_rows_out_are_damage(planes, tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (16, 8, 3), np.uint8)
    strips = [pixels.tobytes()] if planes == 1 else [pixels[..., k].tobytes() for k in range(3)]
    whole, short = (tiff(strips, 8, height, planes) for height in (16, 20))
    (tmp_path / "a.tif").write_bytes(whole)
    assert np.array_equal(np.asarray(read_picture(tmp_path / "a.tif")), pixels)
    (tmp_path / "a.tif").write_bytes(short)
    with pytest.raises(ValueProblem, match=r"a\.tif is damaged: 128 of 160 pixels are there"):
        read_picture(tmp_path / "a.tif")


def animated(width: int, height: int, frame: tuple[int, int]) -> bytes:
    """A PNG of that size that says it has a first frame of another one, which its pixels have."""
    pixels = np.random.default_rng(0).integers(1, 255, (frame[1], 1 + frame[0]), np.uint8)
    pixels[:, 0] = 0
    control = struct.pack(">5I2H2B", 0, *frame, 0, 0, 1, 10, 0, 0)
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"fcTL", control), (b"IDAT", zlib.compress(pixels.tobytes())), (b"IEND", b"")]
    return as_png(parts)


def test_a_first_frame_that_is_smaller_than_its_picture_is_damage(tmp_path):
    assert read(animated(16, 16, (16, 16)), tmp_path).shape == (16, 16)
    with pytest.raises(ValueProblem, match=r"a\.png is damaged: 256 of 4096 pixels are there"):
        read(animated(256, 16, (16, 16)), tmp_path)


def test_animations_are_read_by_their_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((9, 12, 3), shade, np.uint8)) for shade in (7, 90)]
    for default in (False, True):
        frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=default)
        assert (np.asarray(read_picture(tmp_path / "a.png")) == 7).all()


def tiff(strips: list[bytes], width: int, height: int, planes: int) -> bytes:
    """An RGB picture of plain strips of 16 rows."""
    count, start = len(strips), 8 + 2 + 10 * 12 + 4
    more = start + sum(map(len, strips))
    offsets = [start + sum(map(len, strips[:k])) for k in range(count)]
    lists = struct.pack("<3H", 8, 8, 8) + struct.pack(f"<{2 * count}I", *offsets, *map(len, strips))
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, more),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, count, more + 6 if count > 1 else offsets[0]),
        (277, 3, 1, 3),
        (278, 3, 1, 16),
        (279, 4, count, more + 6 + 4 * count if count > 1 else len(strips[0])),
        (284, 3, 1, planes),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + b"".join(strips) + lists
