"""AM117: what is made in a new process."""

from __future__ import annotations

from anymodal.testing.definition import rule
from anymodal.testing.fresh import unlike
from anymodal.testing.outcome import Broken
from anymodal.testing.subject import Subject


def plainly_made(subject: Subject) -> bool:
    """Modalities that a distribution or a project folder announces, but for those that are spelled by a tokenizer."""
    return subject.installed and not subject.is_coded


@rule(
    "AM117",
    "A new process gives the same tensors, or texts",
    fix="keep nothing of values seen before, neither in the module nor in its classes",
    applies=plainly_made,
    after=("AM105",),
)
def lasting(subject: Subject) -> None:
    """What a module remembers of values is another thing in each data worker, and in the process that generates."""
    make = subject.tokenizing.spell if subject.is_sequence else subject.modality.preprocess
    made = [make(example.value) for example in subject.examples]
    verb = "spell" if subject.is_sequence else "preprocess"
    for backwards, seen in ((False, "before it"), (True, "after it")):
        for number in unlike(subject.target, made, backwards):
            example = subject.examples[number]
            raise Broken(f"{verb} of {example} differs in a new process that has seen the examples {seen} alone")
