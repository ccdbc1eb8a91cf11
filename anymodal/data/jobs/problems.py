"""What was left out of a dataset that is made shard by shard, and when that is too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from anymodal.data.report import too_many
from anymodal.errors import AnymodalError, ConfigError, DataError, one_line
from anymodal.modality import Modality
from anymodal.plugins.guard import blame

if TYPE_CHECKING:
    from anymodal.data.files.values import ValueSource


@attrs.frozen
class Problem:
    """Something of one sample that was left out."""

    sample: str
    modality: str
    problem: str


def told_apart(source: ValueSource, rows: Iterable[int]) -> dict[int, str]:
    """The names of samples of a shard, for problems; with the tar they lie in where several have the same."""
    names = {row: source.names[row] for row in rows}
    times = Counter(names.values())
    return {row: source.describe(row) if times[name] > 1 else name for row, name in names.items()}


class Problems:
    """What was left out of one part of a shard, at most one problem a sample; `names` are those of its rows."""

    def __init__(self, modality: str, names: Mapping[int, str]) -> None:
        self.modality, self.names = modality, names
        self._found: dict[int, Problem] = {}

    def add(self, row: int, error: AnymodalError) -> None:
        self._found.setdefault(row, Problem(self.names[row], self.modality, one_line(error)))

    @property
    def all(self) -> list[Problem]:
        return list(self._found.values())


@contextmanager
def noted(problems: Mapping[str, Problems], modality: Modality, row: int, stage: str) -> Iterator[None]:
    """Make an error of the body a problem of the sample; of a modality that is not made now, it was one earlier."""
    try:
        with blame(modality, stage):
            yield
    except AnymodalError as error:
        if modality.name in problems:
            problems[modality.name].add(row, error)


class BadShare:
    """Counts samples with problems. Raises DataError when there are more than the share `most`."""

    def __init__(self, most: float, out: Path) -> None:
        if not 0 <= most <= 1:
            raise ConfigError(f"--max-bad must be a share between 0 and 1, got {most}")
        self.most, self.out = most, out
        self.seen, self.bad, self.first = 0, 0, ""

    def add(self, samples: int, problems: Sequence[Problem]) -> None:
        self.seen += samples
        self._count(problems)
        if too_many(self.bad, self.seen, self.most):
            raise self._error()

    def finish(self, samples: int, problems: Mapping[int, Sequence[Problem]]) -> None:
        """Count anew what there is by shard, over the whole dataset, however small it is.

        Samples of different shards may have the same name.
        """
        self.seen, self.bad = samples, 0
        for found in problems.values():
            self._count(found)
        if self.bad > self.most * samples:
            raise self._error()

    def _count(self, problems: Sequence[Problem]) -> None:
        self.bad += len({p.sample for p in problems})
        if problems and not self.first:
            self.first = f"{problems[0].sample}: {problems[0].problem}"

    def _error(self) -> DataError:
        return DataError(
            f"{self.bad} of {self.seen} samples have problems, more than --max-bad {self.most:g} allows"
            f" ({self.first}); all are in {self.out / 'problems.jsonl'}"
        )
