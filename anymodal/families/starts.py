"""Sequences that begin with something: the ids that are written first, and what was written beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anymodal.errors import GenerationError
from anymodal.partial import OPEN
from anymodal.spaces import TokenSpace

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


def template(pieces: Sequence[np.ndarray | int], space: TokenSpace, name: str) -> np.ndarray:
    """The ids (n,) of pieces, OPEN for as many tokens as a number says; a number at the end is followed by the end.

    Raises GenerationError where they do not fit, or hold a mark that ends a sequence.
    """
    ids: list[int] = []
    for piece in pieces:
        known = np.full(piece, OPEN) if isinstance(piece, int) else piece
        if (space.is_sentinel(known) | (known == space.end)).any():
            raise GenerationError(f"{name!r} cannot begin with a mark that ends it")
        ids += known.tolist()
    if len(ids) >= space.length - 1:
        raise GenerationError(
            f"what {name!r} begins with has {len(ids)} tokens of {space.length}: no room for the rest"
        )
    closed = bool(pieces) and isinstance(pieces[-1], int)
    return np.array([*ids, space.end] if closed else ids, np.int64)


def written_beside(ids: np.ndarray, pieces: Sequence[np.ndarray | int], end: int | None) -> list[np.ndarray]:
    """The ids for each number of the pieces, and those after the pieces, from the whole sequence (n,)."""
    found, at = [], 0
    for piece in pieces:
        count = piece if isinstance(piece, int) else len(piece)
        if isinstance(piece, int):
            found.append(ids[at : at + count])
        at += count
    return [each[each != end] for each in (*found, ids[at:])]
