"""Sequences with holes: the prompt of known pieces, and what was written between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from anymodal.errors import GenerationError, brief
from anymodal.spaces import TokenSpace

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

BLANK = re.compile(r"_{2,}")  # of a text, where words are to be written


def kept_parts(value: Any, keep: object, name: str) -> Any:
    """The parts of a value that `keep` names: all (True), numbers of a list, or names of a dict. Raises
    GenerationError.
    """
    if keep is True:
        return value
    named = isinstance(value, Mapping)
    if isinstance(value, (list, Mapping)) and isinstance(keep, (list, tuple)):
        known: Collection[Any] = value if named else range(len(value))
        kind: type = str if named else Integral
        wrong = [part for part in keep if isinstance(part, bool) or not isinstance(part, kind) or part not in known]
        if not wrong:
            return {part: value[part] for part in keep} if named else [value[part] for part in keep]
        what = ", ".join(map(str, known)) if named else f"0 to {len(value) - 1}"
        raise GenerationError(f"{name!r} has no part {wrong[0]!r:.80} that could be kept; it has {what or 'none'}")
    what = "names of numbers" if named else "numbers of its parts"
    raise GenerationError(f"of {name!r} is kept all that is given (True) or a list of {what}, got {brief(keep)}")


def text_pieces(text: str) -> list[str | None]:
    """The words of a text between its blanks, and None for each blank."""
    pieces: list[str | None] = []
    for number, part in enumerate(BLANK.split(text)):
        pieces += [None] * (number > 0 and (not pieces or pieces[-1] is not None))
        if part.strip():
            pieces.append(part.strip())
    return pieces


def prompt(pieces: Sequence[np.ndarray | None], space: TokenSpace, name: str) -> np.ndarray:
    """The ids (n,) of known pieces with a sentinel for each hole. Raises GenerationError where no token fits in."""
    holes = sum(piece is None for piece in pieces)
    known = sum(len(piece) for piece in pieces if piece is not None)
    if known + holes >= space.length:
        raise GenerationError(f"what is kept of {name!r} has {known} tokens of {space.length}: no room for the rest")
    assert space.sentinels is not None
    if holes >= space.sentinels[1]:
        raise GenerationError(
            f"{name!r} has {holes} holes, more than the {space.sentinels[1] - 1} that a text may have"
        )
    ids: list[int] = []
    hole = 0
    for piece in pieces:
        hole += piece is None
        ids += [space.sentinel(hole)] if piece is None else piece.tolist()
    return np.array([*ids, space.end], np.int64)


def written(ids: np.ndarray, pieces: Sequence[np.ndarray | None], end: int | None) -> list[np.ndarray]:
    """The ids in each hole of the pieces, from the whole sequence (n,); the first occurrence of a piece ends a hole."""
    left = ids[ids != end].tolist()
    found: list[np.ndarray] = []
    for number, piece in enumerate(pieces):
        if piece is not None:
            left = left[len(piece) :]
            continue
        following = pieces[number + 1 : number + 2]
        last = number + 2 == len(pieces)
        count = len(left)
        if following and following[0] is not None:
            wanted = following[0].tolist()
            starts = range(len(left) - len(wanted) + 1)
            count = next((k for k in (reversed(starts) if last else starts) if left[k : k + len(wanted)] == wanted), 0)
        found.append(np.array(left[:count], np.int64))
        left = left[count:]
    return found
