"""AM2xx: token spaces."""

from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np

from anymodal.errors import sort_of
from anymodal.spaces import ANY, DenseSpace, TokenSpace
from anymodal.testing.definition import rule
from anymodal.testing.outcome import expect
from anymodal.testing.rules.compare import grids, sequences
from anymodal.testing.subject import Subject
from anymodal.testing.tiny import vocabulary


@rule(
    "AM201",
    "Size, length and order agree with the family",
    fix="leave streams to the family, or make its spaces with TokenSpace.grid, TokenSpace.sequence or DenseSpace.grid",
)
def consistent(subject: Subject) -> None:
    """The model reserves rows for exactly what the space says."""
    instances: list[Any] = [subject.modality, subject.cls()]
    for m in instances:
        for stream in m.streams():
            space = stream.space
            if isinstance(space, DenseSpace):
                continue
            if subject.is_grid:
                ids = getattr(m, "codebook", space.size)
                right = space.shape is not None and space.size == ids and space.order == ANY
                expect(right, f"stream {stream.name!r} is {space}, no grid of {ids} ids")
                patch = getattr(m, "patch", 1)
                expect(m.sizes[0] % patch == 0, f"size {m.sizes[0]} is not a multiple of patch {patch}")
            elif subject.is_sequence:
                expect(stream.is_sequence, f"stream {stream.name!r} of a sequence has the order {space.order!r}")
                expect(space.length == m.length, f"stream {stream.name!r} has length {space.length}, not {m.length}")
        names = [s.name for s in m.streams()]
        expect(len(set(names)) == len(names), f"streams {names} repeat a name")
        expect(all(n == m.name or n.startswith(f"{m.name}.") for n in names), f"streams {names} do not begin with it")


@rule(
    "AM202",
    "Tokens are whole numbers inside their space",
    fix="return a list of int64 ids below the size of the space and at most its length; rows float32 of its width",
)
def inside(subject: Subject) -> None:
    """An id outside its space is the id of another modality, and the model would never know."""
    m = subject.tokenizing
    spaces = {stream.name: stream for stream in m.streams()}
    for example in subject.examples:
        for name, arrays in m.tokenize([example.value]).items():
            expect(name in spaces, f"tokenize returns the stream {name!r}, which streams does not declare")
            listed = isinstance(arrays, (list, tuple))
            expect(
                listed, f"tokenize of {example} returns {sort_of(arrays)} for the stream {name!r}, not a list of arrays"
            )
            space, ids = spaces[name].space, np.asarray(arrays[0])
            length = ids.shape[0] if ids.ndim else 0
            expect(length <= space.length, f"{example} has {length} tokens of at most {space.length}")
            exact = space.length if not spaces[name].is_sequence else length
            expect(length == exact, f"{example} has {length} tokens, not {exact}")
            if isinstance(space, DenseSpace):
                expect(ids.shape == (length, space.width), f"rows of {example} have shape {ids.shape}")
                expect(ids.dtype == np.float32, f"rows of {example} have dtype {ids.dtype}")
            else:
                expect(ids.ndim == 1 and ids.dtype.kind in "iu", f"ids of {example} are {ids.dtype} {ids.shape}")
                fits = not length or (ids.min() >= 0 and ids.max() < space.size)
                expect(fits, f"ids of {example} lie outside 0..{space.size - 1}")


@rule(
    "AM203",
    "Special tokens lie in the space and are distinct",
    fix="take them from the vocabulary: return self.vocabulary.space(self.length, self.shared)",
    applies=sequences,
)
def special(subject: Subject) -> None:
    """Sentinels stand for hidden spans and one id ends a value; they must be those of the vocabulary."""
    for stream in subject.tokenizing.streams():
        space = stream.space
        assert isinstance(space, TokenSpace) and space.sentinels is not None
        first, count = space.sentinels
        expect(first >= 0 and first + count <= space.size, f"sentinels {space.sentinels} lie outside {space.size} ids")
        known = vocabulary()
        expect(space.end == known.end, f"the end is {space.end}, that of the vocabulary {known.end}")
        expect(space.sentinels == known.sentinels, f"sentinels are {space.sentinels}, not {known.sentinels}")


@rule("AM204", "Streams do not depend on values", fix="let streams depend on the settings of the instance alone")
def constant(subject: Subject) -> None:
    """The layout of a model is fixed before it sees a value."""
    before = subject.modality.streams()
    for example in subject.examples:
        subject.modality.accept(example.value)
    for example in subject.odd:
        subject.modality.accept(example.value)
    expect(subject.modality.streams() == before, "streams differ after values were seen")


@rule(
    "AM205",
    "Another image size changes the number of positions alone",
    fix="let the size of the codebook stand for itself, and the grid follow from size // patch",
    applies=grids,
)
def resized(subject: Subject) -> None:
    """A checkpoint may be fine-tuned at a larger size; its ids keep their meaning."""
    m = subject.modality
    larger = type(m)(**(m.config() | {"size": 2 * m.size}))
    for small, large in zip(m.streams(), larger.streams(), strict=True):
        expect(small.name == large.name, f"the stream {small.name!r} is called {large.name!r} at twice the size")
        times = large.space.length / small.space.length
        expect(times == 4, f"stream {small.name!r} has {times:g} times the positions at twice the size, not 4")
        key = "width" if small.is_dense else "size"
        same = getattr(small.space, key) == getattr(large.space, key)
        expect(same, f"stream {small.name!r} has another {key} at twice the image size")


@rule("AM206", "Spaces survive JSON", fix="use plain numbers, strings and tuples in the space")
def survives_json(subject: Subject) -> None:
    """Checkpoints and data sets record the spaces that they were made with."""
    for stream in subject.modality.streams():
        again = type(stream.space)(**json.loads(json.dumps(attrs.asdict(stream.space))))
        expect(again == stream.space, f"the space of {stream.name!r} comes back as {again}")


@rule(
    "AM207",
    "Sequences end, grids do not",
    fix="declare sequences with TokenSpace.sequence, and write the end id after every value",
)
def ends(subject: Subject) -> None:
    """The sampler stops at the end id; in a grid every position is asked for, in any order."""
    for stream in subject.modality.streams():
        if isinstance(stream.space, TokenSpace):
            has_end = stream.space.end is not None
            expect(
                has_end == stream.is_sequence, f"stream {stream.name!r} of order {stream.space.order!r}: end is wrong"
            )
    if subject.is_sequence:
        m = subject.tokenizing
        end, length = m.vocabulary.end, m.streams()[0].space.length
        for example in subject.examples:
            ids = m.tokenize([example.value])[m.name][0]
            expect(len(ids) == length or ids[-1] == end, f"the ids of {example} do not close with the end id")


@rule("AM208", "The settings are attributes with defaults", fix="give each name in `settings` a class attribute")
def numbered(subject: Subject) -> None:
    """Checkpoints record the settings of an instance, and make the same instance of them."""
    for name in subject.cls.settings:
        expect(hasattr(subject.cls, name), f"the setting {name!r} has no default on the class")
    m = subject.modality
    settings = json.loads(json.dumps(m.config()))
    again = type(m)(**settings)
    expect(again.streams() == m.streams(), "an instance made of its own settings has other streams")
    for name, value in m.config().items():
        read = again.config()[name]
        expect(read == value, f"the setting {name!r} is {value!r:.60}, and {read!r:.60} once JSON has held it")
