"""AM1xx: natural values, tensors and files."""

from __future__ import annotations

import copy
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.testing.rule import expect, rule
from anymodal.testing.subject import Subject


def same(a: Any, b: Any) -> bool:
    """Equal values of any kind; NaN equals itself."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    return bool(a == b)


def _numpy_state() -> list[Any]:
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()]


@rule(
    "AM100",
    "There are example values to check with",
    fix="give the class a method examples(rng) that returns values by kind",
    level="should",
)
def has_examples(subject: Subject) -> None:
    expect(subject.examples, "the family makes no example values of it, so rules about values check nothing")


@rule(
    "AM101",
    "Tensors have the shape and dtype that the tokenizer reads",
    fix="return float32 (channels, H, W) from preprocess",
    applies=lambda s: s.is_image,
)
def shapes(subject: Subject) -> None:
    m = subject.modality
    for example in subject.examples:
        tensor = m.preprocess(example.value)
        wanted = (m.channels, m.size, m.size)
        expect(tensor.shape == wanted, f"preprocess of {example} has shape {tensor.shape}, not {wanted}")
        expect(tensor.dtype == np.float32, f"preprocess of {example} has dtype {tensor.dtype}, not float32")


@rule(
    "AM102",
    "Tensors are finite",
    fix="replace what is not finite in preprocess (numpy.nan_to_num)",
    applies=lambda s: s.is_image,
    after=("AM101",),
)
def finite(subject: Subject) -> None:
    for example in subject.examples:
        expect(np.isfinite(subject.modality.preprocess(example.value)).all(), f"preprocess of {example} is not finite")


@rule(
    "AM103",
    "Values come back through preprocess and postprocess",
    fix="make postprocess the inverse of preprocess",
    applies=lambda s: s.is_image,
    after=("AM101",),
)
def comes_back(subject: Subject) -> None:
    m = subject.modality
    for example in subject.examples:
        if m.family == "image" and m.channels == 3 and m.low < 0:
            continue  # directions need not fill the range
        back = m.postprocess(m.preprocess(example.value))
        expect(back.shape == example.value.shape, f"{example} comes back with shape {back.shape}")
        gap = float(np.abs(back.astype(float) - example.value.astype(float)).max())
        limit = 1e-3 * (m.high - m.low) + (1 if m.dtype == "uint8" else 0)
        expect(gap <= limit, f"{example} comes back {gap:g} away, more than {limit:g}")


@rule("AM104", "Values given are not changed", fix="work on a copy", applies=lambda s: s.is_grid)
def untouched(subject: Subject) -> None:
    for example in subject.examples:
        before = copy.deepcopy(example.value)
        subject.modality.preprocess(example.value)
        subject.modality.show(example.value)
        expect(same(before, example.value), f"preprocess or show changes its argument, {example}")


@rule("AM105", "preprocess gives the same twice", fix="draw nothing at random", applies=lambda s: s.is_grid)
def deterministic(subject: Subject) -> None:
    for example in subject.examples:
        first, second = (subject.modality.preprocess(example.value) for _ in range(2))
        expect(same(first, second), f"preprocess of {example} differs the second time")


@rule("AM106", "Global random state stays as it is", fix="use a generator of your own", applies=lambda s: s.is_grid)
def random_state(subject: Subject) -> None:
    before = random.getstate(), repr(_numpy_state())
    for example in subject.examples:
        subject.modality.preprocess(example.value)
    after = random.getstate(), repr(_numpy_state())
    expect(before == after, "preprocess draws from the global random state")


@rule(
    "AM107",
    "NaN and infinity survive or are refused",
    fix="replace them in preprocess",
    applies=lambda s: s.is_image and s.cls.dtype == "float32",  # type: ignore[attr-defined]
    after=("AM101",),
)
def not_finite(subject: Subject) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        value = subject.examples[0].value.copy()
        value.flat[0] = bad
        try:
            tensor = subject.modality.preprocess(value)
        except ValueError:
            continue
        expect(np.isfinite(tensor).all(), f"a value with one {bad} gives a tensor that is not finite")


@rule("AM110", "A value of a wrong type is refused by name", fix="raise self.problem(value, expected) in accept")
def wrong_type(subject: Subject) -> None:
    for wrong in (object(), {"no": "value"}):
        try:
            subject.modality.accept(wrong)
        except ValueError as error:
            expect(subject.cls.name in str(error), f"the error for {type(wrong).__name__} does not name the modality")
        else:
            expect(False, f"accept takes a value of type {type(wrong).__name__}")


@rule(
    "AM111",
    "Values come back from files",
    fix="let read undo write for the first of suffixes",
    applies=lambda s: bool(s.cls.suffixes),
)
def files(subject: Subject) -> None:
    m = subject.modality
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"value{m.suffixes[0]}"
        for example in subject.examples:
            m.write(example.value, path)
            back = m.read(path)
            if isinstance(example.value, np.ndarray):
                expect(back.shape == example.value.shape, f"{example} is read with shape {back.shape}")
                expect(back.dtype == example.value.dtype, f"{example} is read with dtype {back.dtype}")
            elif isinstance(example.value, str):
                expect(back == example.value.strip(), f"{example} is read as {back!r:.40}")


@rule(
    "AM112",
    "Damaged files are refused",
    fix="read through anymodal.files, which refuses what it cannot read",
    applies=lambda s: bool(s.cls.suffixes) and s.cls.suffixes[0] != ".txt",
)
def damaged(subject: Subject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for content in (b"", b"\x89PNG\r\n\x1a\n\0\0", b"\x80\x04\x95{[("):
            path = Path(folder) / f"value{subject.cls.suffixes[0]}"
            path.write_bytes(content)
            try:
                subject.modality.read(path)
            except ValueError:
                continue
            expect(False, f"read takes a file of the {len(content)} bytes {content!r}")
