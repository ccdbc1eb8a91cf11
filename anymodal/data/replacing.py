"""What a training run does about a sample that lacks what it needs, or that cannot be used: it takes another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import numpy as np

from anymodal.data.report import problem_line
from anymodal.errors import DataError

TRIES = 20  # unusable samples in a row
LONGEST_LINE = 400

T = TypeVar("T")


@attrs.frozen
class Replacing:
    """Reads samples of a dataset, or others in their place.

    `count` is the number of its samples, `describe` says where one lies, `name` is what the dataset is called in the
    error that ends a run, and `nothing` what that error says if no sample has what is needed.
    """

    name: str
    count: int
    describe: Callable[[int], str]
    nothing: str

    def read(
        self,
        read: Callable[[int, np.random.Generator], T | None],
        index: int,
        rng: Callable[[int], np.random.Generator],
        problems: list[str],
    ) -> T:
        """A sample that can be used: the given one, or another.

        After one that lacks what is needed the next one is read, after one that cannot be used any other: not a
        neighbor, for a damaged shard is bad in a row.

        Args:
            read: makes what is wanted of the sample at an index; None where it lacks that. Whatever it raises makes
                the sample unusable.
            index: the sample to begin with.
            rng: random numbers after so many unusable samples, for the choice of another one and for `read`.
            problems: gets a line for each sample that cannot be used, with its place and what is wrong with it.

        Returns:
            What `read` made of the first sample that has it.

        Raises:
            DataError: 20 samples cannot be used, or none has what is needed.
        """
        failed, numbers = 0, rng(0)
        for _ in range(self.count + TRIES):
            try:
                found = read(index, numbers)
            except Exception as error:  # damaged files make libraries and plugins fail in many ways
                problems.append(problem_line(self.describe(index), error)[:LONGEST_LINE])
                failed += 1
                if failed == TRIES:
                    line = f"{TRIES} samples of {self.name} in a row cannot be used; the last one: {problems[-1]}"
                    raise DataError(line) from None
                numbers = rng(failed)
                index = int(numbers.integers(self.count))
            else:
                if found is not None:
                    return found
                index = (index + 1) % self.count
        raise DataError(self.nothing)
