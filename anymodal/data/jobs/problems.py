"""What was left out of a dataset that is made shard by shard, and when that is too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from anymodal.data.report import too_many
from anymodal.errors import AnymodalError, ConfigError, DataError, one_line
from anymodal.modality import Modality
from anymodal.plugins.guard import blame


@attrs.frozen
class Problem:
    """Something of one sample that was left out."""

    sample: str
    modality: str
    problem: str


class Problems:
    """What was left out of one part of a shard, at most one problem a sample."""

    def __init__(self, modality: str) -> None:
        self.modality = modality
        self._found: dict[str, Problem] = {}

    def add(self, sample: str, error: AnymodalError) -> None:
        self._found.setdefault(sample, Problem(sample, self.modality, one_line(error)))

    @property
    def all(self) -> list[Problem]:
        return list(self._found.values())


@contextmanager
def noted(problems: Mapping[str, Problems], modality: Modality, sample: str, stage: str) -> Iterator[None]:
    """Make an error of the body a problem of the sample; of a modality that is not made now, it was one earlier."""
    try:
        with blame(modality, stage):
            yield
    except AnymodalError as error:
        if modality.name in problems:
            problems[modality.name].add(sample, error)


class BadShare:
    """Counts samples with problems. Raises DataError when there are more than the share `most`."""

    def __init__(self, most: float, out: Path) -> None:
        if not 0 <= most <= 1:
            raise ConfigError(f"--max-bad must be a share between 0 and 1, got {most}")
        self.most, self.out = most, out
        self.seen, self.bad, self.first = 0, 0, ""

    def add(self, samples: int, problems: Sequence[Problem]) -> None:
        self.seen += samples
        self.bad += len({p.sample for p in problems})
        if problems and not self.first:
            self.first = f"{problems[0].sample}: {problems[0].problem}"
        if too_many(self.bad, self.seen, self.most):
            raise self._error()

    def finish(self, samples: int, problems: Sequence[Problem]) -> None:
        """Count anew, over the whole dataset, however small it is."""
        self.seen = self.bad = 0
        self.add(samples, problems)
        if self.bad > self.most * samples:
            raise self._error()

    def _error(self) -> DataError:
        return DataError(
            f"{self.bad} of {self.seen} samples have problems, more than --max-bad {self.most:g} allows"
            f" ({self.first}); all are in {self.out / 'problems.jsonl'}"
        )
