"""What a check of a plugin says to people: failures by their cause, what is excepted, and what was left out and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from anymodal.testing.run import EXAMPLE, EXPECTED, FAILED, SKIPPED, WARNED, Result


def summary(results: Sequence[Result]) -> list[str]:
    """The lines about everything that did not simply pass, each modality for itself."""
    several = len({result.modality for result in results}) > 1
    lines: list[str] = []
    for name, own in groupby(results, key=lambda result: result.modality):
        mine = list(own)
        said = [*_failures(mine), *_exceptions(mine), *_left_out(mine)]
        lines += ([f"{name}:"] if several and said else []) + said
    return lines


def causes(results: Iterable[Result]) -> list[list[Result]]:
    """The results that are not good, together where one thing is wrong, in the order in which they were found."""
    return _together([r for r in results if r.status in (FAILED, WARNED)], lambda r: r.cause or r.detail)


def _failures(results: list[Result]) -> list[str]:
    lines = []
    for group in causes(results):
        if len(group) == 1:
            lines.append(str(group[0]))
            continue
        first = group[0]
        lines.append(f"{len(group)} rules for one cause ({first.modality}): {first.cause}")
        lines += [f"  {r.rule.number} {r.rule.title}: {r.status}{_extra(r)}" for r in group]
        raised = first.cause.startswith("raises ")
        lines += [f"  fix: {'mend what raises, in the line named' if raised else first.rule.fix}"]
        lines += [f"  see: {first.rule.page}"]
    return lines


def _extra(result: Result) -> str:
    """What a result says beyond its cause: the example."""
    found = EXAMPLE.search(result.detail)
    return f" on {found[0]}" if found else ""


def _exceptions(results: list[Result]) -> list[str]:
    return [f"{r.rule.number} {r.rule.title}: failed, as declared: {r.detail}" for r in results if r.status == EXPECTED]


def _left_out(results: list[Result]) -> list[str]:
    """Which rules were skipped, a line for each reason."""
    skipped = [result for result in results if result.status == SKIPPED]
    return [
        f"skipped {', '.join(r.rule.number for r in group)}: {_reason(group[0])}"
        for group in _together(skipped, _reason)
    ]


def _reason(result: Result) -> str:
    if result.detail.endswith("comes first"):
        return result.detail
    scope = result.rule.scope.rstrip(".")
    return f"only for {scope[:1].lower()}{scope[1:]}"


def _together(results: Iterable[Result], key: Callable[[Result], str]) -> list[list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return list(groups.values())
