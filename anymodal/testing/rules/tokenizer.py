"""AM3xx (and AM202): values to tokens and back, with small random weights."""

from __future__ import annotations

import numpy as np

from anymodal.testing.rule import expect, rule
from anymodal.testing.subject import Subject


@rule(
    "AM202",
    "Ids are whole numbers inside their space",
    fix="return int64 ids below the size of the space, at most its length",
    applies=lambda s: s.has_tokens,
)
def inside(subject: Subject) -> None:
    m = subject.tokenizing
    spaces = {stream.name: stream for stream in m.streams()}
    for example in subject.examples:
        for name, arrays in m.tokenize([example.value]).items():
            expect(name in spaces, f"tokenize returns the stream {name!r}, which streams does not declare")
            stream, ids = spaces[name], arrays[0]
            expect(len(ids) <= stream.space.length, f"{example} has {len(ids)} tokens of at most {stream.space.length}")
            if not stream.is_dense:
                expect(ids.dtype.kind in "iu", f"ids of {example} have dtype {ids.dtype}")
                fits = not len(ids) or (ids.min() >= 0 and ids.max() < stream.space.size)
                expect(fits, f"ids of {example} lie outside 0..{stream.space.size - 1}")


@rule(
    "AM303",
    "A batch gives what single values give",
    fix="let no value see its neighbours in tokenize",
    applies=lambda s: s.has_tokens,
    after=("AM202",),
)
def batches(subject: Subject) -> None:
    values = [example.value for example in subject.examples]
    together = subject.tokenizing.tokenize(values)[subject.cls.name]
    for example, ids in zip(subject.examples, together, strict=True):
        alone = subject.tokenizing.tokenize([example.value])[subject.cls.name][0]
        expect(np.array_equal(alone, ids), f"{example} has other tokens in a batch than alone")


@rule(
    "AM305",
    "Any ids decode to a value",
    fix="keep the valid part of malformed sequences, raise nothing in postprocess or parse",
    applies=lambda s: s.has_tokens,
)
def decodes(subject: Subject) -> None:
    m = subject.tokenizing
    space = next(stream.space for stream in m.streams() if stream.name == m.name)
    rng = np.random.default_rng(0)
    for _ in range(8):
        count = space.length if space.shape else int(rng.integers(1, space.length))
        expect(m.detokenize([rng.integers(0, space.size, count)])[0] is not None, "random ids decode to None")
