"""AM111 and AM112: files that come back, and files that are damaged or made to hurt."""

from __future__ import annotations

import io
import json
import pickle
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.outputs.equality import same
from anymodal.testing.definition import rule
from anymodal.testing.outcome import Broken, expect
from anymodal.testing.rules.compare import with_files
from anymodal.testing.subject import Subject

DAMAGED = (b"", b"\x89PNG\r\n\x1a\n\0\0", b"\x80\x04\x95{[(", b"[[[[", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}")
RUNS_CODE = "read runs code that is in a file: it opens pickles"
SPRUNG: list[str] = []


@rule(
    "AM111",
    "Values come back from files",
    fix="let read undo write for the first of suffixes, and write through anymodal.files, which makes folders",
    applies=with_files,
)
def files(subject: Subject) -> None:
    """What `generate` saves is what the next program reads."""
    m = subject.tokenizing
    for suffix in m.suffixes:
        expect(re.fullmatch(r"(\.[a-z0-9_]+)+", suffix), f"the ending {suffix!r} of files is none, such as '.png'")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / f"value{m.suffixes[0]}"
        for example in subject.examples:
            try:
                m.write(example.value, path)
            except FileNotFoundError:
                raise Broken(f"write of {example} does not make the folder of the file") from None
            back = m.read(path)
            if m.file_range is not None:
                expect(back.shape == example.value.shape, f"{example} is read with shape {back.shape}")
                expect(back.dtype == example.value.dtype, f"{example} is read with dtype {back.dtype}")
                low, high = m.file_range
                gap = float(np.abs(back.astype(float) - example.value.astype(float)).max())
                limit = 0.51 * (high - low) / 255
                expect(gap <= limit, f"{example} is read {gap:.3g} away from what was written, more than {limit:.3g}")
            elif m.is_text:
                expect(back == example.value.strip(), f"{example} is read as {back!r:.40}")
            else:
                close = same(back, m.accept(example.value), 1e-4)
                expect(close, f"{example} is read as another value than was written")


def _spring() -> None:
    """What is called when a file of `_traps` is unpickled."""
    SPRUNG.append("a trap")


class _Trap:
    """Calls `_spring` when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _spring, ()


def _traps() -> tuple[bytes, bytes]:
    """Files that run code when they are opened without care: a pickle, and an .npy of objects."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Trap()], object), allow_pickle=True)
    return pickle.dumps(_Trap()), buffer.getvalue()


@rule(
    "AM112",
    "Damaged files are refused",
    fix="read through anymodal.files, whose functions refuse what they cannot read; accept what they give in `naming`",
    applies=with_files,
)
def damaged(subject: Subject) -> None:
    """Files come from anywhere: cut short, of another kind, or made to hurt. Pickles are never opened, and what a file
    holds never stands for another file.
    """
    contents = (
        *_traps(),
        b"",
        b"\x89PNG\r\n\x1a\n\0\0",
        b"\x80\x04\x95{[(",
        b"[[[[",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}",
    )
    plain_text = subject.cls.is_text
    with tempfile.TemporaryDirectory() as folder:
        missing = Path(folder) / f"missing{subject.cls.suffixes[0]}"
        for path, content in [*((Path(folder) / f"value{missing.suffix}", c) for c in contents), (missing, None)]:
            if content is not None:
                path.write_bytes(content)
            SPRUNG.clear()
            try:
                subject.modality.read(path)
            except ValueError:
                expect(not SPRUNG, RUNS_CODE)
                continue
            except Exception as error:
                expect(not SPRUNG, RUNS_CODE)
                what = "a missing file" if content is None else f"a file of {len(content)} damaged bytes"
                raise Broken(f"read answers {what} with {type(error).__name__}, not a ValueError") from None
            expect(not SPRUNG, RUNS_CODE)
            if content is None or not plain_text:
                raise Broken(f"read takes a file of the {len(content or b'')} bytes {content!r}")
        _stays_inside(subject, Path(folder))


def _stays_inside(subject: Subject, folder: Path) -> None:
    """A file of JSON that holds the path of another one is no value, and the other one is not read for it."""
    m, suffix = subject.tokenizing, subject.cls.suffixes[0]
    if suffix != ".json":
        return
    for example in subject.examples:
        other, path = (folder / f"{name}{suffix}" for name in ("other", "path"))
        try:
            m.write(example.value, other)
        except Exception:  # which is for AM111 to tell
            return
        path.write_text(json.dumps(str(other)))
        try:
            m.read(path)
        except ValueError:
            continue
        raise Broken(f"read of a file that holds the path of another one reads that other one, {example}")
