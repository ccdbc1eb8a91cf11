"""The runner: every rule on one modality; dependent ones are left out after a failure, exceptions have a reason."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from anymodal.modality import Modality
from anymodal.testing.rule import RULES, Broken, Rule
from anymodal.testing.rules import MODULES
from anymodal.testing.subject import Subject

assert MODULES
PASSED, FAILED, WARNED, SKIPPED, EXPECTED = "passed", "failed", "warned", "skipped", "failed as expected"


@attrs.frozen
class Result:
    """What a rule says of a modality; `status` is one of the words above, `detail` a sentence."""

    rule: Rule = attrs.field(repr=False)
    status: str
    detail: str = ""

    @property
    def bad(self) -> bool:
        return self.status == FAILED

    def __str__(self) -> str:
        text = f"{self.rule.number} {self.rule.title}: {self.status}" + (f": {self.detail}" if self.detail else "")
        if self.status not in (FAILED, WARNED):
            return text
        return f"{text}; fix: {self.rule.fix}"


def check(target: str | type[Modality], expected_failures: Mapping[str, str] | None = None) -> list[Result]:
    """All results for an installed modality or a class. `expected_failures` maps numbers of rules to reasons.

    Raises UnknownModality or PluginError when the modality cannot be loaded, ValueError for a rule that is none.
    """
    expected = expected_failures or {}
    if unknown := sorted(set(expected) - set(RULES)):
        raise ValueError(f"there is no rule {unknown[0]!r}; rules: {', '.join(sorted(RULES))}")
    if empty := [number for number, reason in expected.items() if not reason.strip()]:
        raise ValueError(f"the expected failure of {empty[0]} needs a reason")
    subject = Subject(target)
    results: dict[str, Result] = {}
    for number, rule in sorted(RULES.items()):
        results[number] = _judge(rule, subject, results, expected.get(number))
    return list(results.values())


def _judge(rule: Rule, subject: Subject, so_far: Mapping[str, Result], reason: str | None) -> Result:
    if failed := [number for number in rule.after if number in so_far and so_far[number].status != PASSED]:
        return Result(rule, SKIPPED, f"{failed[0]} comes first")
    if not rule.applies(subject):
        return Result(rule, SKIPPED, "does not apply")
    try:
        rule.check(subject)
    except Broken as error:
        detail = str(error)
    except Exception as error:
        detail = f"raises {type(error).__name__}: {' '.join(str(error).split()):.300}"
    else:
        if reason is None:
            return Result(rule, PASSED)
        return Result(rule, FAILED, f"passes, though it is declared to fail ({reason}); remove it from the exceptions")
    if reason is not None:
        return Result(rule, EXPECTED, reason)
    return Result(rule, FAILED if rule.level == "must" else WARNED, detail)
