"""What a dataset holds and what is wrong with it: how often each kind of problem, a few cases, and what is too much.

Statistics are computed while reading, so that memory does not grow with the dataset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.errors import AnymodalError, one_line
from anymodal.tokenizers.quantizers.usage import perplexity, usage
from anymodal.tokens import Layout
from anymodal.tokens.checks import unfit_tokens

EXAMPLES = 5
FEW = 1000


@attrs.define
class ProblemCount:
    """A kind of problem of one part of a dataset (a modality, or a stream): how many cases, and a few of them."""

    part: str
    kind: str
    count: int = 0
    examples: list[str] = attrs.field(factory=list)


@attrs.frozen
class ProblemCounts:
    """Problems by part and kind; the memory they take does not grow with their number."""

    _found: dict[tuple[str, str], ProblemCount] = attrs.field(factory=dict)

    def add(self, part: str, kind: str, example: str, count: int = 1) -> None:
        """Count a case."""
        found = self._found.setdefault((part, kind), ProblemCount(part, kind))
        found.count += count
        if len(found.examples) < EXAMPLES:
            found.examples.append(one_line(example, 300))

    def __iter__(self) -> Iterator[ProblemCount]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)


@attrs.define
class TokenStatistics:
    """Tokens of a stream as they are counted: `counts` (size,) of its ids, and the lengths of its values."""

    size: int
    counts: np.ndarray = attrs.field(init=False)
    values: int = 0
    shortest: int = 0
    longest: int = 0

    def __attrs_post_init__(self) -> None:
        self.counts = np.zeros(self.size, np.int64)

    def add(self, ids: np.ndarray) -> None:
        """Count the ids (n,) of a value."""
        self.counts += np.bincount(ids, minlength=self.size)
        self.shortest = min(self.shortest, len(ids)) if self.values else len(ids)
        self.longest = max(self.longest, len(ids))
        self.values += 1

    def summary(self) -> dict[str, float]:
        """Ids there are, `usage` and `perplexity` as of a codebook, and the lengths of the values, in tokens."""
        return {
            "ids": self.size,
            "usage": usage(self.counts),
            "perplexity": perplexity(self.counts),
            "shortest": self.shortest,
            "longest": self.longest,
            "mean_length": int(self.counts.sum()) / max(self.values, 1),
        }


@attrs.define
class ValueRange:
    """The lowest and the highest finite number of the values of a part, in `unit`."""

    unit: str
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: np.ndarray) -> None:
        """Look at the numbers of a value."""
        known = value[np.isfinite(value)]
        if known.size:
            self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g} {self.unit}".rstrip()


@attrs.frozen
class Report:
    """What a dataset holds, by part, and what is wrong with it; `kind` is its layout."""

    kind: str
    samples: int
    counts: dict[str, int] = attrs.field(factory=dict)
    tokens: dict[str, TokenStatistics] = attrs.field(factory=dict)
    ranges: dict[str, ValueRange] = attrs.field(factory=dict)
    problems: ProblemCounts = attrs.field(factory=ProblemCounts)
    notes: list[str] = attrs.field(factory=list)

    def add_tokens(self, layout: Layout, name: str, tokens: np.ndarray, place: str) -> None:
        """Count the tokens of a stream of one value, or the problem that they do not fit their stream."""
        space = layout[name].space
        if wanted := unfit_tokens(layout, name, tokens):
            found = f"{tokens.dtype} of shape {tokens.shape}"
            self.problems.add(name, "wrong tokens", f"{place} holds {found}, not {wanted}")
        elif hasattr(space, "size"):
            self.tokens.setdefault(name, TokenStatistics(space.size)).add(tokens)

    def as_json(self, path: str | Path) -> dict[str, Any]:
        """The report for programs; `path` is the dataset."""
        return {
            "data": str(path),
            "kind": self.kind,
            "samples": self.samples,
            "counts": self.counts,
            "tokens": {name: statistics.summary() for name, statistics in self.tokens.items()},
            "ranges": {name: attrs.asdict(each) for name, each in self.ranges.items() if each.low <= each.high},
            "notes": self.notes,
            "problems": [attrs.asdict(problem) for problem in self.problems],
        }


def too_many(bad: int, seen: int, share: float) -> bool:
    """Whether more than a share, in [0, 1], of the samples is bad; of the first 1000 as long as fewer were seen."""
    return bad > share * max(seen, FEW)


def problem_line(place: str, error: Exception) -> str:
    """One line that names the place and the reason."""
    reason = str(error) if isinstance(error, AnymodalError) else f"{type(error).__name__}: {error}"
    return one_line(reason if place in reason else f"{place}: {reason}")
