"""AM0xx: what a plugin is from outside."""

from __future__ import annotations

import pickle

from anymodal.testing.rule import expect, rule
from anymodal.testing.subject import Subject


@rule("AM002", "The class says in one line what it holds", fix="give the class a docstring with a first line")
def described(subject: Subject) -> None:
    own = subject.cls.__dict__.get("__doc__") or ""
    expect(own.partition("\n")[0].strip(), f"{subject.cls.__name__} has no docstring of its own")


@rule("AM003", "Instances can be pickled", fix="define the class at the top of its module, keep no open files in it")
def pickles(subject: Subject) -> None:
    again = pickle.loads(pickle.dumps(subject.modality))
    expect(again.settings() == subject.modality.settings(), "a pickled instance has other numbers")


@rule(
    "AM008",
    "The distribution has a summary",
    fix="set description in pyproject.toml",
    level="should",
    applies=lambda s: s.origin is not None,
)
def summarised(subject: Subject) -> None:
    assert subject.origin is not None
    expect(subject.origin.summary, f"{subject.origin.distribution} has no summary")
