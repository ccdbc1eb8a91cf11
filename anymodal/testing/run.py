"""The runner: the rules on a modality, dependent ones left out after a failure, exceptions declared with a reason."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from anymodal.errors import one_line
from anymodal.modality import Modality
from anymodal.nn.device import one_thread
from anymodal.testing.choose import Target, find
from anymodal.testing.definition import PROFILES, Rule
from anymodal.testing.outcome import Broken
from anymodal.testing.rules import RULES
from anymodal.testing.subject import Subject

PASSED, FAILED, WARNED, SKIPPED, EXPECTED = "passed", "failed", "warned", "skipped", "failed as expected"
FIRST, SECOND = "AM000", "AM100"  # that it loads comes before all rules, that it has examples before all of values
EXAMPLE = re.compile(r"(the )?example '[^']*' of seed \d+(, shape \([\d, ]*\))?")


@attrs.frozen
class Result:
    """What a rule says of a modality; `status` is one of the words above, `detail` a sentence.

    `cause` is what is wrong without the example on which it showed: several rules may fail for one.
    """

    rule: Rule = attrs.field(repr=False)
    modality: str
    status: str
    detail: str = ""
    cause: str = ""

    @property
    def bad(self) -> bool:
        return self.status == FAILED

    def __str__(self) -> str:
        text = f"{self.rule.number} {self.rule.title} ({self.modality}): {self.status}"
        text += f": {self.detail}" if self.detail else ""
        if self.status not in (FAILED, WARNED):
            return text
        return f"{text}\n  fix: {self.rule.fix}\n  see: {self.rule.page}"

    def facts(self) -> dict[str, str]:
        """The result as JSON holds it."""
        r = self.rule
        keys = {"rule": r.number, "title": r.title, "level": r.level, "topic": r.topic, "fix": r.fix, "page": r.page}
        return keys | {"modality": self.modality, "status": self.status, "detail": self.detail, "cause": self.cause}


class Inspection:
    """The rules on one modality, each judged once, when it is asked for.

    `expected_failures` maps numbers of rules to reasons, beside those of the class itself (`Modality.exceptions`).
    Raises ValueError for a rule that is none, or without reason.
    """

    def __init__(self, target: Target, expected_failures: Mapping[str, str] | None = None) -> None:
        self.expected = dict(expected_failures or {})
        checked(self.expected)
        self.subject = Subject(target)
        self._results: dict[str, Result] = {}

    def judge(self, number: str) -> Result:
        """What a rule says, after those that come before it."""
        if number not in self._results:
            self._results[number] = self._judge(RULES[number])
        return self._results[number]

    def all(self, profile: str = "quick") -> list[Result]:
        """What all rules of a profile say."""
        return [self.judge(number) for number in rule_numbers(profile)]

    def _judge(self, rule: Rule) -> Result:
        name = self.subject.target.name
        first = () if rule.number == FIRST else (FIRST,) if rule.number <= SECOND else (FIRST, SECOND)
        for number in (*first, *rule.after):
            if self.judge(number).status in (FAILED, EXPECTED):
                return Result(rule, name, SKIPPED, f"{number} comes first")
        reason = self._reason(rule)
        try:
            if not rule.applies(self.subject):
                return Result(rule, name, SKIPPED, "does not apply")
            with one_thread():
                rule.check(self.subject)
        except Broken as error:
            detail = str(error)
            cause = EXAMPLE.sub("an example", detail)
        except (Exception, SystemExit) as error:
            detail, cause = _told(rule, error, getattr(vars(self.subject).get("cls"), "__module__", ""))
        else:
            if reason is None:
                return Result(rule, name, PASSED)
            return Result(rule, name, FAILED, f"passes, though it is declared to fail ({reason}); remove the exception")
        if reason is not None:
            return Result(rule, name, EXPECTED, reason)
        return Result(rule, name, FAILED if rule.level == "must" else WARNED, detail, cause)

    def _reason(self, rule: Rule) -> str | None:
        """Why the modality may break a rule, as the test or the class says."""
        if rule.number in self.expected or rule.number == FIRST:
            return self.expected.get(rule.number)
        return self.subject.cls.exceptions.get(rule.number)


def _told(rule: Rule, error: BaseException, module: str) -> tuple[str, str]:
    """What to say of an exception that a rule met, and its cause: the first one of a chain, wherever it came through.

    Both name the line of the plugin's `module`, the first one the example too.
    """
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    examples = [
        f"on {frame.f_locals['example']}"
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code is rule.check.__code__ and "example" in frame.f_locals
    ]
    lines = [
        (f.f_code, line) for f, line in traceback.walk_tb(first.__traceback__) if f.f_globals.get("__name__") == module
    ]
    where = [f"in line {line} of {Path(code.co_filename).name}" for code, line in lines[-1:]]
    said, cause = (f"raises {type(each).__name__}: {one_line(each, 300)}" for each in (error, first))
    return ", ".join([said, *examples, *where]), ", ".join([cause, *where])


def rule_numbers(profile: str) -> list[str]:
    """The rules of a profile in order; 'full' holds those of 'quick'."""
    if profile not in PROFILES:
        raise ValueError(f"a profile is one of {', '.join(PROFILES)}, got {profile!r}")
    return sorted(number for number, rule in RULES.items() if profile == "full" or rule.profile == "quick")


def checked(expected: Mapping[str, str]) -> None:
    """Raise ValueError unless all declared exceptions name a rule and a reason."""
    for number, reason in expected.items():
        if number not in RULES:
            raise ValueError(f"there is no rule {number!r}; rules: {', '.join(sorted(RULES))}")
        if not reason.strip():
            raise ValueError(f"the expected failure of {number} needs a reason")


def check(
    what: str | type[Modality], expected_failures: Mapping[str, str] | None = None, *, profile: str = "quick"
) -> list[Result]:
    """All results for a class, an installed modality, a distribution, or the folder of a plugin.

    Raises UnknownModality or PluginError when there is no such thing, ValueError as `Inspection`.
    """
    return [result for inspection in inspections(what, expected_failures) for result in inspection.all(profile)]


def inspections(what: str | type[Modality], expected_failures: Mapping[str, str] | None = None) -> Iterator[Inspection]:
    """An inspection of each modality that is meant; see `check`."""
    for target in find(what):
        yield Inspection(target, expected_failures)
