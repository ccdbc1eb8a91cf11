"""AM1xx: natural values, tensors and files."""

from __future__ import annotations

import contextlib
import copy
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.crops import Crop
from anymodal.errors import AnymodalError, sort_of
from anymodal.families import (
    EmbeddingModality,
    FeatureMapModality,
    ImageModality,
    LabelMapModality,
    VectorModality,
)
from anymodal.modality import Modality
from anymodal.outputs.equality import same
from anymodal.plugins.registry import registry
from anymodal.testing.definition import rule
from anymodal.testing.outcome import Broken, expect
from anymodal.testing.rules.compare import arrays, images, may_have_holes, over_picture
from anymodal.testing.subject import Subject
from anymodal.testing.tiny import shrunk
from anymodal.testing.values import examples

UNITS = re.compile(
    r"\d|meter|meter|kelvin|celsius|degree|pixel|second|unit|range|hertz|share|fraction|probabilit|logit|0\.\.|between",
    re.IGNORECASE,
)


@rule(
    "AM100",
    "There are example values, and they differ",
    fix="return a few natural values by kind, such as {'one': VALUE, 'many': VALUE}, from examples(self, rng)",
)
def exemplary(subject: Subject) -> None:
    """All other rules look at example values: those of the class, or else such as its family and its space say."""
    expect(subject.examples, "it has no `examples`, and accept takes nothing that it reads in random value tokens")
    if len(subject.examples) > 1:
        first, *others = (example.value for example in subject.examples)
        without = subject.cls.examples is Modality.examples
        which = "it has no `examples`, and what it reads in random value tokens is" if without else "all examples are"
        expect(any(not same(first, other) for other in others), f"{which} one value, {sort_of(first)}")


@rule(
    "AM101",
    "Tensors have the shape and dtype that the tokenizer reads",
    fix="return float32 arrays of shape (channels, H, W) from preprocess; label maps return int64 (H, W)",
    applies=arrays,
)
def shapes(subject: Subject) -> None:
    """`preprocess` stands between values and the tokenizer: what it returns goes straight into a batch."""
    m = subject.modality
    for example in subject.examples:
        tensor = m.preprocess(example.value)
        wanted: tuple[int, ...]
        if isinstance(m, LabelMapModality):
            wanted, kind = (m.size, m.size), "iu"
        elif isinstance(m, FeatureMapModality):
            wanted, kind = (m.channels, m.side, m.side), "f"
        elif isinstance(m, VectorModality):
            wanted, kind = (m.channels,), "f"
        elif isinstance(m, EmbeddingModality):
            longer = np.tile(example.value, (2 + m.length // len(example.value), 1))
            read = m.preprocess(longer).shape
            right = read == (m.length, m.width)
            expect(right, f"preprocess of {len(longer)} rows has shape {read}; the model reads {m.length}")
            wanted, kind = (min(len(example.value), m.length), m.width), "f"
        elif subject.is_image:
            wanted, kind = (m.channels, *m.sizes[:1] * 2), "f"
        else:
            wanted, kind = tensor.shape, "fiu"
        expect(isinstance(tensor, np.ndarray), f"preprocess of {example} returns {type(tensor).__name__}, no array")
        expect(tensor.shape == wanted, f"preprocess of {example} has shape {tensor.shape}, not {wanted}")
        right = tensor.dtype.kind in kind and tensor.dtype != np.float64 and tensor.dtype != np.float16
        expect(right, f"preprocess of {example} has dtype {tensor.dtype}")


@rule(
    "AM102",
    "Tensors are finite and of moderate size",
    fix="map low..high to -1..1 in preprocess, and replace what is not finite (numpy.nan_to_num)",
    applies=arrays,
    after=("AM101",),
)
def moderate(subject: Subject) -> None:
    """Networks learn from numbers around one; a tensor of thousands, or with a NaN, spoils a training run silently."""
    for example in subject.examples:
        tensor = subject.modality.preprocess(example.value)
        expect(np.isfinite(tensor).all(), f"preprocess of {example} is not finite")
        most = float(np.abs(tensor).max())
        limit = 1.0 + 1e-4 if subject.modality.family == "image" and _plain_range(subject) else 1000.0
        expect(most <= limit, f"preprocess of {example} reaches {most:g}, more than {limit:g}")


def _plain_range(subject: Subject) -> bool:
    """Whether the numbers of the class say that low..high becomes -1..1."""
    return subject.cls.preprocess is ImageModality.preprocess


@rule(
    "AM103",
    "Values come back: postprocess undoes preprocess",
    fix="make postprocess the inverse of preprocess, and parse that of spell",
    after=("AM101",),
)
def comes_back(subject: Subject) -> None:
    """What the tokenizer gives back is turned into a value by the way it came; whatever is lost here is lost for good.

    Compared are tensors before and after, since a value may be kept up to scale only; and texts for sequences.
    """
    m = subject.tokenizing if subject.is_sequence else subject.modality
    for example in subject.examples:
        if subject.is_coded:
            parts = m.parse(m.spell(example.value))
            expect(
                len(parts) == len(example.value), f"{example} has {len(example.value)} parts, after parse {len(parts)}"
            )
            continue
        if subject.is_sequence:
            text = m.spell(example.value)
            again = m.spell(m.parse(text))
            expect(again == text, f"{example} is spelled {text!r:.60}, and after parse {again!r:.60}")
            continue
        tensor = m.preprocess(example.value)
        if isinstance(m, LabelMapModality):
            tensor_in = np.eye(len(m.known) + 1, dtype=np.float32)[tensor].transpose(2, 0, 1)
        else:
            tensor_in = tensor
        value = m.postprocess(tensor_in.copy())
        expect(np.shape(value) == np.shape(example.value), f"{example} comes back with shape {np.shape(value)}")
        back = m.preprocess(value)
        gap = float(np.abs(back.astype(float) - tensor.astype(float)).max())
        limit = 2 / 255 if getattr(m, "dtype", "") == "uint8" else 2e-3 * max(1.0, float(np.abs(tensor).max()))
        expect(gap <= limit, f"the tensor of {example} comes back {gap:.3g} away, more than {limit:.3g}")


@rule(
    "AM104",
    "Values given are not changed",
    fix="work on a copy in the method that is named",
)
def untouched(subject: Subject) -> None:
    """The same array may be shown, cropped and tokenized by others at the same time."""
    m = subject.tokenizing
    with tempfile.TemporaryDirectory() as folder:
        uses: dict[str, Callable[[Any], Any]] = {
            "accept": m.accept,
            "crop": lambda value: m.crop(value, Crop(0.1, 0.1, 0.8, 0.8, flip=True)),
            "show": lambda value: m.show(value, 32),
            **({"spell": m.spell} if subject.is_sequence else {"preprocess": m.preprocess}),
            "tokenize": lambda value: m.tokenize([value]),
            **({"score": lambda value: m.score([value], [value])} if subject.is_target else {}),
            **({"write": lambda value: m.write(value, Path(folder) / f"v{m.suffixes[0]}")} if m.suffixes else {}),
        }
        for example in examples(subject.modality):  # made anew: those of the subject may be changed by now
            for name, use in uses.items():
                expect(not _changes(use, example.value), f"{name} changes its argument, {example}")
            if subject.is_target:
                tokens: Any = []
                with contextlib.suppress(Exception):
                    tokens = m.tokenize([copy.deepcopy(example.value)])[m.name]
                expect(not _changes(m.detokenize, tokens), f"detokenize changes the tokens of {example}")


def _changes(use: Callable[[Any], Any], value: Any) -> bool:
    """Whether a copy of the value is another one after its use, whose errors are told by other rules."""
    given = copy.deepcopy(value)
    with contextlib.suppress(Exception):
        use(given)
    return not same(given, value)


@rule(
    "AM105",
    "The same value gives the same tensor, or text, and another value another one",
    fix="draw nothing at random outside `spell` with its rng, and keep nothing of values seen before",
)
def deterministic(subject: Subject) -> None:
    """Data is tokenized once and used many times: a second run must find the same."""
    m = subject.tokenizing
    make = m.spell if subject.is_sequence else m.preprocess
    name = "spell" if subject.is_sequence else "preprocess"
    made = [make(example.value) for example in subject.examples]
    for example, first in reversed([*zip(subject.examples, made, strict=True)]):  # whatever was seen before
        expect(same(make(example.value), first), f"{name} of {example} differs the second time")
        new = first if subject.is_sequence else shrunk(subject.cls).preprocess(example.value)
        expect(same(new, first), f"{name} of {example} differs in an instance that has seen no other value")
    if len(made) > 1 and not same(subject.examples[0].value, subject.examples[-1].value):
        alike = all(same(made[0], other) for other in made)
        expect(not alike, f"{name} gives the same for all examples, such as {subject.examples[-1]}")


@rule(
    "AM106",
    "Global random state stays as it is",
    fix="use a generator of your own: numpy.random.default_rng(seed)",
    after=("AM601",),
)
def random_state(subject: Subject) -> None:
    """A user who sets a seed expects that nobody else draws from it."""
    import torch

    def state() -> Any:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]

    m, before = subject.tokenizing, state()
    for example in subject.examples:
        m.crop(m.accept(example.value), Crop())
        m.spell(example.value) if subject.is_sequence else m.preprocess(example.value)
        m.show(example.value, 32)
    expect(before == state(), "accept, crop, preprocess, spell or show draws from the global random state")


@rule(
    "AM107",
    "NaN, infinity and numbers out of range survive or are refused",
    fix="replace or clip them in preprocess, or raise self.problem(value, expected) in accept",
    applies=may_have_holes,
    after=("AM101",),
)
def not_finite(subject: Subject) -> None:
    """Sensors leave holes, and files hold anything; one bad pixel may cost itself, not the whole picture."""
    m = subject.modality
    for bad in (np.nan, np.inf, -np.inf, 10 * (m.file_range or (0, 1))[1] + 1):
        value = subject.examples[0].value.copy()
        value.flat[0] = bad
        missing = m.nan_is_missing and np.isnan(bad)
        try:
            taken = m.accept(value)
            tensor = m.preprocess(taken)
        except ValueError as error:
            expect(not missing, f"nan_is_missing is true, and {subject.examples[0]} with one NaN is refused: {error}")
            continue
        expect(np.isfinite(tensor).all(), f"{subject.examples[0]} with one {bad} gives a tensor that is not finite")
        if missing:
            scores = m.score([subject.examples[0].value], [taken])
            wrong = next((name for name, score in scores.items() if not np.isfinite(score)), "")
            expect(not wrong, f"{wrong} of {subject.examples[0]} against itself with one NaN is not finite")


def with_pictures(subject: Subject) -> bool:
    """Images of one or three channels, which picture files can hold."""
    return images(subject) and subject.modality.channels in (1, 3) and subject.cls.suffixes[:1] == (".png",)


@rule(
    "AM108",
    "Paths, pictures and arrays are accepted alike",
    fix="let accept send paths to read and pictures to the same conversion (super().accept does)",
    applies=with_pictures,
)
def accepted(subject: Subject) -> None:
    """`generate` takes whatever the user has at hand."""
    from PIL import Image

    m, example = subject.modality, subject.examples[-1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "value.png"
        m.write(example.value, path)
        read = m.read(path)
        for kind, given in (("a path", path), ("a str path", str(path)), ("an array", read)):
            expect(same(m.accept(given), read), f"{kind} to {example} gives another value than read")
        with Image.open(path) as picture:
            expect(same(m.accept(picture), read), f"a PIL picture of {example} gives another value than read")


@rule(
    "AM109",
    "Empty, tiny and extreme shapes are cropped or refused",
    fix="let crop return arrays of the model's size for any shape, and refuse arrays with an empty side in accept",
    applies=over_picture,
)
def extreme_shapes(subject: Subject) -> None:
    """Data sets hold thumbnails, panoramas and broken files."""
    m = subject.modality
    for example in subject.odd:
        value = m.accept(example.value)
        cut = m.crop(value, Crop.center(*m.extent(value)))
        cells = subject.cells
        expect(cut.shape[:2] == (cells, cells), f"{example} is cropped to {cut.shape}, not {cells} a side")
        m.preprocess(cut)
    empty = np.zeros((0, 4, *subject.odd[0].value.shape[2:]), subject.odd[0].value.dtype)
    try:
        m.accept(empty)
    except ValueError:
        return
    raise Broken(f"accept takes an empty array of shape {empty.shape}")


@rule(
    "AM110",
    "A value of a wrong type is refused by name",
    fix="raise self.problem(value, expected) in accept, which is a ValueError that names the modality",
)
def wrong_type(subject: Subject) -> None:
    """The error is the user's own mistake and must read like it, not like a crash in the middle of numpy."""
    for wrong in (object(), {"no": "value"}, 3.5j):
        kind = type(wrong).__name__
        try:
            subject.modality.accept(wrong)
        except ValueError as error:
            name = subject.cls.name
            expect(name in str(error), f"the error for a value of type {kind} does not name {name}: {error!s:.100}")
        except Exception as error:
            raise Broken(f"accept answers a value of type {kind} with {type(error).__name__}: {error!s:.80}") from None
        else:
            raise Broken(f"accept takes a value of type {kind}")


@rule(
    "AM113",
    "Units or range are documented",
    fix="say in the class's docstring what the numbers mean: meters, kelvin, 0..255; or state its `unit`",
    level="should",
    applies=arrays,
)
def units(subject: Subject) -> None:
    """A depth of 3 is of use to nobody who does not know of what."""
    m = subject.modality
    own = subject.cls.__dict__.get("__doc__") or ""  # not that of a family
    stated = m.unit or isinstance(m, LabelMapModality)  # which names what its numbers are
    expect(stated or UNITS.search(own), "the docstring names neither a unit nor a range")


@rule(
    "AM114",
    "accept leaves natural values as they are",
    fix="let accept return an equal value for what is natural already",
)
def natural(subject: Subject) -> None:
    """Values that the modality itself made, by decoding or reading, are given back to it."""
    for example in subject.examples:
        try:
            again = subject.modality.accept(example.value)
        except AnymodalError as error:
            raise Broken(f"accept refuses {example}: {error}") from None
        expect(same(again, example.value, 1e-6), f"accept changes {example}")


def derived(subject: Subject) -> bool:
    """Modalities that are computed from others (`derived_from`)."""
    return bool(subject.cls.derived_from)


@rule(
    "AM115",
    "What is derived is natural",
    fix="name installed modalities in derived_from, and let derive return what accept takes, the same every time",
    applies=derived,
)
def derives(subject: Subject) -> None:
    """Values that a data set lacks are computed while it is read, from whatever its other files hold."""
    m = subject.modality
    for seed in range(2):
        values: dict[str, Any] = {}
        for source in subject.cls.derived_from:
            try:
                values[source] = examples(shrunk(_known(subject, source)), seed)[-1].value
            except AnymodalError as error:
                raise Broken(f"derived_from names {source!r}, which cannot be had: {error}") from None
        before, given = copy.deepcopy(values), f"derive from examples of seed {seed} of {' and '.join(values)}"
        try:
            value = m.derive(values)
        except NotImplementedError:
            raise Broken("derived_from names modalities, and there is no derive") from None
        expect(same(before, values), f"{given} changes them")
        try:
            natural = same(m.accept(value), value)
        except AnymodalError as error:
            raise Broken(f"{given} gives a value that accept refuses: {error}") from None
        expect(natural, f"{given} gives a value that accept changes")
        expect(same(m.derive(values), value), f"{given} differs the second time")


def _known(subject: Subject, name: str) -> type[Modality]:
    """Another modality of the same project, or an installed one."""
    own = subject.target.plugins
    return (own if name in own.modalities() else registry()).modality(name)
