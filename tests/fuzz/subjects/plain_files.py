"""Files that hold one thing: arrays, JSON, text, pictures."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aligned_layouts
import numpy as np
from file_kinds import FILE_KINDS

from anymodal import files
from anymodal.families.picture_files import read_picture
from anymodal.families.pictures import ids_of
from anymodal.families.wav import read_wav
from fuzz.plain import NotPlain, read_png
from fuzz.subjects.base import Subject


def plain_files() -> Iterator[Subject]:
    rng = np.random.default_rng(0)
    arrays = [
        rng.random((5, 7)).astype(np.float32),
        np.arange(24).reshape(2, 3, 4),
        np.array([True, False]),
        np.float64(3),
    ]
    for k, array in enumerate(arrays):
        yield Subject(
            "arrays", f"npy {k}", {"a.npy": _npy(array)}, ("a.npy",), lambda f: files.read_array(f / "a.npy"), 2, _numpy
        )
        yield Subject(
            "arrays",
            f"npy in memory {k}",
            {"a.npy": _npy(array)},
            ("a.npy",),
            lambda f: files.parse_array((f / "a.npy").read_bytes(), "a.npy"),
            1,
            _numpy,
        )
    buffer = io.BytesIO()
    np.savez(buffer, a=arrays[0], b=arrays[1])
    yield Subject(
        "arrays", "npz", {"a.npz": buffer.getvalue()}, ("a.npz",), lambda f: files.read_arrays(f / "a.npz"), 3
    )
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((2, 3, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(60)))
    yield Subject("arrays", "wav", {"a.wav": sound.getvalue()}, ("a.wav",), lambda f: read_wav(f / "a.wav"), 2)
    said = {"a red car": [1, 2.5, None, True], "é": {"x": "y" * 20}}
    yield Subject(
        "JSON and text",
        "json",
        {"a.json": json.dumps(said).encode()},
        ("a.json",),
        lambda f: files.read_json(f / "a.json"),
        3,
        lambda d: json.loads(d.decode("utf-8-sig").replace("\r\n", "\n")),
    )
    yield Subject(
        "JSON and text",
        "text",
        {"a.txt": "a röd car\non a road\n".encode()},
        ("a.txt",),
        lambda f: files.read_text(f / "a.txt"),
        1,
        lambda d: d.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n"),
    )
    for kind, (name, make) in FILE_KINDS.items():
        if name.endswith(".png") and "RGB" not in kind and "alpha" not in kind:
            yield Subject("pictures", f"ids of {kind}", {name: make()}, (name,), partial(_ids, name), 1, _plain_ids)
        elif name.endswith((".png", ".jpg", ".webp", ".tif", ".pgm")):
            yield Subject(
                "pictures",
                kind,
                {name: make()},
                (name,),
                partial(_pixels, name),
                1,
                _plain_colors if kind == "RGB PNG" else None,
            )


def _npy(array: Any) -> bytes:
    return aligned_layouts.npy(array)


def _numpy(data: bytes) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        raise NotPlain("numpy refuses it") from error
    if not isinstance(array, np.ndarray):
        raise NotPlain("an archive")
    return array


def _ids(name: str, folder: Path) -> np.ndarray:
    return np.asarray(ids_of(read_picture(folder / name))).astype(np.int64)


def _plain_ids(data: bytes) -> np.ndarray:
    samples = read_png(data)
    if samples.shape[2] != 1 or b"eXIf" in data:
        raise NotPlain("not one number a pixel")
    return samples[..., 0].astype(np.int64)


def _pixels(name: str, folder: Path) -> np.ndarray:
    return np.asarray(read_picture(folder / name))


def _plain_colors(data: bytes) -> np.ndarray:
    samples = read_png(data)
    if samples.shape[2] != 3 or samples.dtype != np.uint8 or b"eXIf" in data:
        raise NotPlain("not three channels of 8 bits")
    return samples
