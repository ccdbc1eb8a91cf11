"""Token spaces: what the model knows of a modality, and nothing else.

A modality offers one or more *streams*; each has a space. A `TokenSpace` holds ids that the model reads and writes;
a `DenseSpace` holds rows of numbers (pixels of a patch, an embedding vector) that it only reads.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from anymodal.errors import SpaceError, brief

if TYPE_CHECKING:
    import numpy as np

ANY, LEFT_TO_RIGHT = "any", "left-to-right"
LARGEST = 2**31  # ids, positions, numbers of a row: more is a damaged file
LARGEST_TABLE = 2**26  # numbers in a table of position codes, which is computed and in no file


def _positive(instance: object, attribute: attrs.Attribute, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SpaceError(f"a space needs a positive whole number for {attribute.name!r}, got {brief(value)}")
    if value > LARGEST:
        raise SpaceError(f"a space has at most {LARGEST} for {attribute.name!r}, got {brief(value)}")


def _fits_length(instance: TokenSpace | DenseSpace, attribute: attrs.Attribute, shape: tuple[int, int] | None) -> None:
    if shape is not None and (len(shape) != 2 or shape[0] * shape[1] != instance.length):
        raise SpaceError(f"a grid of shape {brief(shape)} does not have {instance.length} positions")


def _pair(shape: tuple[int, int] | list[int] | None) -> tuple[int, int] | None:
    if shape is None:
        return None
    try:
        first, second = shape
        return int(first), int(second)
    except (TypeError, ValueError, OverflowError):
        raise SpaceError(f"a space needs two whole numbers, got {shape!r:.80}") from None


@attrs.frozen
class TokenSpace:
    """`size` ids at up to `length` positions, produced in any order (grids) or left to right (sequences).

    `shape` is (rows, columns) of a picture-like grid, whose positions get a 2-D sine-cosine code; without it positions
    are coded in one dimension. `learned` positions are trained: beside that code in a grid with a shape, else in its
    place. Sequences that name the same `vocabulary` share one table of embeddings; they hold `sentinels` (first id,
    count) that stand for hidden spans, and `end`, the id that closes a value.
    """

    size: int = attrs.field(validator=_positive)
    length: int = attrs.field(validator=_positive)
    order: str = ANY
    shape: tuple[int, int] | None = attrs.field(default=None, converter=_pair, validator=_fits_length)
    learned: bool = False
    vocabulary: str | None = None
    sentinels: tuple[int, int] | None = attrs.field(default=None, converter=_pair)
    end: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.order not in (ANY, LEFT_TO_RIGHT):
            raise SpaceError(f"order must be {ANY!r} or {LEFT_TO_RIGHT!r}, got {self.order!r}")
        if self.order == LEFT_TO_RIGHT and self.shape is not None:
            raise SpaceError("a space in left-to-right order has no grid shape")
        if self.order == LEFT_TO_RIGHT:
            if self.sentinels is None or self.end is None:
                raise SpaceError("a space in left-to-right order needs sentinels and an end id")
            first, count = self.sentinels
            if first < 0 or count < 3 or first + count > self.size or not 0 <= self.end < self.size:
                raise SpaceError(f"sentinels {self.sentinels} or end {self.end} lie outside the {self.size} ids")
            if first <= self.end < first + count:
                raise SpaceError(f"end {self.end} is one of the sentinels")

    @classmethod
    def grid(cls, size: int, rows: int, columns: int, learned: bool = False) -> TokenSpace:
        """`size` ids at each of rows x columns positions, row-major; `learned` as above."""
        return cls(size, rows * columns, ANY, (rows, columns), learned)

    @classmethod
    def sequence(
        cls, size: int, length: int, *, sentinels: tuple[int, int], end: int, vocabulary: str | None = None
    ) -> TokenSpace:
        """Up to `length` of `size` ids from left to right. Raises SpaceError for marks that are no ids of it."""
        return cls(size, length, LEFT_TO_RIGHT, vocabulary=vocabulary, sentinels=sentinels, end=end)

    def sentinel(self, index: int) -> int:
        """The id of sentinel [S_index] of a sequence; [S_1] opens the first hidden span."""
        if self.sentinels is None or not 0 <= index < self.sentinels[1]:
            raise SpaceError(f"there is no sentinel {index} in {self}")
        return self.sentinels[0] + index

    def is_sentinel(self, ids: np.ndarray) -> np.ndarray:
        """Which ids of an array are sentinels."""
        first, count = self.sentinels or (0, 0)
        return (ids >= first) & (ids < first + count)

    @property
    def is_sequence(self) -> bool:
        """Whether it goes from left to right; else it is a grid."""
        return self.order == LEFT_TO_RIGHT


@attrs.frozen
class DenseSpace:
    """Up to `length` rows of `width` numbers, read through a linear map (with or without `bias`), never written.

    `shape` and `learned` are as in `TokenSpace`.
    """

    width: int = attrs.field(validator=_positive)
    length: int = attrs.field(validator=_positive)
    order: str = ANY
    shape: tuple[int, int] | None = attrs.field(default=None, converter=_pair, validator=_fits_length)
    bias: bool = False
    learned: bool = False

    @classmethod
    def grid(cls, width: int, rows: int, columns: int, learned: bool = False) -> DenseSpace:
        """A row of `width` numbers at each of rows x columns positions, row-major; `learned` as in `TokenSpace`."""
        return cls(width, rows * columns, ANY, (rows, columns), learned=learned)

    @property
    def is_sequence(self) -> bool:
        """Whether it goes from left to right; else it is a grid."""
        return self.order == LEFT_TO_RIGHT


@attrs.frozen
class Stream:
    """One way in or out of the model: `name` is the modality's own, or `modality.part` for a second space."""

    name: str
    modality: str
    space: TokenSpace | DenseSpace
    input: bool = True
    target: bool = True

    def __attrs_post_init__(self) -> None:
        if self.target and isinstance(self.space, DenseSpace):
            raise SpaceError(f"stream {self.name!r} is dense and can only be an input")
        if not (self.input or self.target):
            raise SpaceError(f"stream {self.name!r} is neither an input nor a target")

    @cached_property
    def is_dense(self) -> bool:
        return isinstance(self.space, DenseSpace)

    @cached_property
    def is_sequence(self) -> bool:
        return self.space.is_sequence
