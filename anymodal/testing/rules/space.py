"""AM2xx: token spaces."""

from __future__ import annotations

import json

import attrs

from anymodal.spaces import DenseSpace, TokenSpace
from anymodal.testing.rule import expect, rule
from anymodal.testing.subject import Subject


@rule("AM204", "Streams do not change", fix="let streams depend on numbers alone")
def constant(subject: Subject) -> None:
    before = subject.modality.streams()
    for example in subject.examples:
        subject.modality.accept(example.value)
    expect(subject.modality.streams() == before, "streams differ after values were seen")


@rule("AM206", "Spaces survive JSON", fix="use plain numbers in the space")
def survives_json(subject: Subject) -> None:
    for stream in subject.modality.streams():
        again = type(stream.space)(**json.loads(json.dumps(attrs.asdict(stream.space))))
        expect(again == stream.space, f"the space of {stream.name!r} comes back as {again}")


@rule("AM207", "Sequences have an end", fix="declare the space with TokenSpace.sequence")
def ends(subject: Subject) -> None:
    for stream in subject.modality.streams():
        if stream.is_sequence and not isinstance(stream.space, DenseSpace):
            assert isinstance(stream.space, TokenSpace)
            expect(stream.space.end is not None, f"stream {stream.name!r} is a sequence without an end id")
