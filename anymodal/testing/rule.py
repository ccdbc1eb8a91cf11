"""What a conformance rule is: a number, a title, a level, a way to fix what breaks it, and a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from anymodal.testing.subject import Subject

Check = Callable[["Subject"], None]
RULES: dict[str, Rule] = {}


class Broken(Exception):
    """A rule is broken; the message says by what."""


@attrs.frozen
class Rule:
    """A rule. `level` is 'must' or 'should'; it is left out where `applies` is false and after a failure of `after`."""

    number: str
    title: str
    fix: str
    check: Check
    level: str = "must"
    applies: Callable[[Subject], bool] = lambda subject: True
    after: tuple[str, ...] = ()


def rule(
    number: str,
    title: str,
    *,
    fix: str,
    level: str = "must",
    applies: Callable[[Subject], bool] = lambda subject: True,
    after: tuple[str, ...] = (),
) -> Callable[[Check], Check]:
    """Make a rule of a check, which raises `Broken`."""

    def register(check: Check) -> Check:
        assert number not in RULES, number
        RULES[number] = Rule(number, title, fix, check, level, applies, after)
        return check

    return register


def expect(holds: object, message: str) -> None:
    """Raise Broken with the message unless it holds."""
    if not holds:
        raise Broken(message)
