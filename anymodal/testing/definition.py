"""What a conformance rule is: a number, a title, a level, a way to fix what breaks it, and a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from anymodal.testing.subject import Subject

Check = Callable[["Subject"], None]
RULES: dict[str, Rule] = {}
TOPICS = ("package", "values", "space", "tokenizer", "augmentation", "model", "presentation")
LEVELS, PROFILES = ("must", "should"), ("quick", "full")
PAGE = "https://anymodal.github.io/anymodal/reference/rules/"


def always(subject: Subject) -> bool:
    """Every modality."""
    return True


@attrs.frozen
class Rule:
    """A rule of the conformance kit.

    `level` is 'must' or 'should' (a warning). It is left out where `applies` is false, and after a failure of one of
    `after`. `profile` is 'full' for rules that take longer than a moment.
    """

    number: str
    title: str
    fix: str
    check: Check = attrs.field(repr=False, eq=False)
    level: str = attrs.field(default="must", validator=attrs.validators.in_(LEVELS))
    applies: Callable[[Subject], bool] = attrs.field(default=always, repr=False, eq=False)
    after: tuple[str, ...] = ()
    profile: str = attrs.field(default="quick", validator=attrs.validators.in_(PROFILES))

    @property
    def topic(self) -> str:
        return TOPICS[int(self.number[2])]

    @property
    def page(self) -> str:
        """Where the rule is explained."""
        return f"{PAGE}#{self.number.lower()}"

    @property
    def why(self) -> str:
        """What the rule is for: the docstring of its check."""
        return " ".join((self.check.__doc__ or "").split())

    @property
    def scope(self) -> str:
        """Which modalities it is for: the docstring of `applies`."""
        return " ".join((self.applies.__doc__ or "").split())


def rule(
    number: str,
    title: str,
    *,
    fix: str,
    level: str = "must",
    applies: Callable[[Subject], bool] = always,
    after: tuple[str, ...] = (),
    profile: str = "quick",
) -> Callable[[Check], Check]:
    """Make a rule of a check, which raises `Broken` and whose docstring says what the rule is for."""

    def register(check: Check) -> Check:
        if number in RULES:
            raise ValueError(f"there is a rule {number} already: {RULES[number].title}")
        RULES[number] = Rule(number, title, fix, check, level, applies, after, profile)
        return check

    return register
