"""What is wrong with a dataset: how often each kind of thing, the first few cases, and when it is too much."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from anymodal.errors import AnymodalError, one_line

EXAMPLES = 5
FEW = 1000


@attrs.define
class Finding:
    """A kind of problem of one part of a dataset (a modality, or a stream): how many cases, and a few of them."""

    part: str
    kind: str
    count: int = 0
    examples: list[str] = attrs.field(factory=list)


@attrs.frozen
class Findings:
    """Problems by part and kind; the memory they take does not grow with their number."""

    _found: dict[tuple[str, str], Finding] = attrs.field(factory=dict)

    def add(self, part: str, kind: str, example: str, count: int = 1) -> None:
        """Count a case."""
        finding = self._found.setdefault((part, kind), Finding(part, kind))
        finding.count += count
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(one_line(example, 300))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)


def too_many(bad: int, seen: int, share: float) -> bool:
    """Whether more than a share, in [0, 1], of the samples is bad; of the first 1000 as long as fewer were seen."""
    return bad > share * max(seen, FEW)


def problem_line(place: str, error: Exception) -> str:
    """One line that names the place and the reason."""
    said = str(error) if isinstance(error, AnymodalError) else f"{type(error).__name__}: {error}"
    return one_line(said if place in said else f"{place}: {said}")
