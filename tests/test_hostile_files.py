"""Whatever lies in a file, a modality reads it or says in one sentence which file it is and what is wrong."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

import anymodal as am
from anymodal.errors import ValueProblem
from anymodal.families.picture_files import read_picture
from anymodal.files import read_arrays, read_json, read_text
from anymodal.plugins.registry import modalities, registry

NAMES = list(modalities())


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def array_of(shape: str, descr: str = "'<f4'") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", bytes(64))


def png(width: int, height: int, bits: int = 8, color: int = 0, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture(mode: str, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (6, 4)).save(file, kind)
    return file.getvalue()


CONTENTS = {
    ".npy": [
        b"",
        b"PK\x05\x06" + bytes(18),
        array_of("(1000000, 1000000)"),
        array_of("(-1, 4)"),
        array_of("(1000000000000, 0)"),
        array_of("(True, 'a')"),
        array_of("(1L,)"),
        array_of("(" * 150 + "1" + ")" * 150),
        array_of("(1,)", "'|O'"),
        array_of("(4, 4)", "'<c8'"),
        array_of("(4, 4)", "[('a', '<f4')]"),
        npy("{'descr': '<f4', 'fortran_order': 1}"),
    ],
    ".png": [
        b"\x89PNG",
        png(100_000, 100_000),
        png(0, 0),
        png(4, 4, rows=b"\x09" * 20),
        picture("LAB", "TIFF"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    ],
    ".json": [b"", b"[" * 100_000, b"1" * 5000, b'{"caption": ["\xff"]}', b'{"1": [[1, 2], [3]]}', b"[[1, 2], [3]]"],
    ".txt": ["a red car".encode("utf-16"), b"\xff"],
}


@pytest.mark.parametrize("name", NAMES)
def test_hostile_content_is_refused_by_name(name, tmp_path):
    modality = registry().modality(name)()
    for suffix, contents in CONTENTS.items():
        path = tmp_path / f"hostile{suffix}"
        for content in contents if suffix in modality.suffixes else ():
            path.write_bytes(content)
            try:
                modality.read(path)
            except ValueProblem as error:
                assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 600


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_plain_file_is_refused(name, tmp_path):
    modality = registry().modality(name)()
    for suffix in modality.suffixes:
        pipe, folder, link = (tmp_path / f"{kind}{suffix}" for kind in ("pipe", "folder", "link"))
        os.mkfifo(pipe)
        folder.mkdir()
        link.symlink_to(link)
        cases = [
            (pipe, "is a pipe or a device"),
            (folder, "is a folder"),
            (link, "cannot be read"),
            (tmp_path / f"gone{suffix}", "no such file"),
            (tmp_path / ("long" * 100 + suffix), "cannot be read"),
            (tmp_path / f"nul\0{suffix}", "cannot be read"),
        ]
        for path, words in cases:
            with pytest.raises(ValueProblem, match=words):
                modality.read(path)


def test_numbers_that_float32_does_not_reach_are_infinite(tmp_path):
    np.save(tmp_path / "far.npy", np.full((4, 4), 1e300))
    assert np.isposinf(registry().modality("depth")().read(tmp_path / "far.npy")).all()


def test_arrays_keep_their_order(tmp_path):
    for kind in ("<f4", ">f8", "<i2", "|b1"):
        for order in ("C", "F"):
            expected = np.arange(24).reshape(4, 6).astype(kind, order=order)
            np.save(tmp_path / "a.npy", expected)
            assert np.array_equal(am.image("heights", channels=1, high=23)().read(tmp_path / "a.npy"), expected)


def test_class_maps_are_written_as_arrays_too(tmp_path):
    semseg, value = registry().modality("semseg")(), np.arange(6, dtype=np.uint8).reshape(2, 3)
    semseg.write(value, tmp_path / "a.npy")
    assert np.array_equal(semseg.read(tmp_path / "a.npy"), value)


def test_a_mark_of_byte_order_is_no_letter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa red car\r\n")
    assert read_text(path) == "a red car\n"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]


def test_small_archives_that_unpack_to_much_are_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("emb.npy", "w") as file:
        for _ in range(257):
            file.write(bytes(1024**2))
    with pytest.raises(ValueProblem, match="unpacks to"):
        read_arrays(path)


def test_details_that_are_damaged_are_no_warning(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (6, 4)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x01")
    assert read_picture(path).size == (6, 4)


@pytest.mark.parametrize("name", [name for name in NAMES if ".json" in registry().modality(name).suffixes])
def test_a_file_never_stands_for_another_one(name, tmp_path):
    modality = registry().modality(name)()
    other, path = tmp_path / "other.json", tmp_path / "path.json"
    other.write_text('{"instances": []}')
    for content in (str(other), str(path), "memory://nowhere/other.json"):
        path.write_text(json.dumps(content))
        for way in (modality.read, modality.accept):
            if modality.is_text:
                assert way(path) == content
                continue
            with pytest.raises(ValueProblem) as caught:
                way(path)
            assert str(path) in str(caught.value) and "nothing can be read" not in str(caught.value)
