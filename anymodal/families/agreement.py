"""Several draws of a sequence as one: the draw that agrees best with the others, or what enough of them have.

How many draws lack each part says how sure it is. A draw is chosen by minimum Bayes risk (Kumar and Byrne 2004) with
the F1 of the parts as the gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

Has = Callable[[Any, Any], "np.ndarray"]


def most_agreeing(values: Sequence[Any], has: Has) -> int:
    """The number of the value that shares most with the others, the first of equals.

    Args:
        values: of several draws.
        has: of two values, bool (parts,): which parts of the first one the second one has too.
    """
    found = [[has(one, other) for other in values] for one in values]
    gains = [sum(_f1(found[k][j], found[j][k]) for j in range(len(values)) if j != k) for k in range(len(values))]
    return int(np.argmax(gains))


def _f1(one: np.ndarray, other: np.ndarray) -> float:
    total = len(one) + len(other)
    return float(one.sum() + other.sum()) / total if total else 1.0


def lacking(value: Any, draws: Sequence[Any], has: Has) -> np.ndarray:
    """The share of the draws, float32 (parts,), that lack each part of a value."""
    return (1 - np.mean([has(value, draw) for draw in draws], 0)).astype(np.float32)


def words_in(text: str, other: str) -> np.ndarray:
    """Which words of a text, bool (words,), are in another one too, in the same order."""
    words = text.casefold().split()
    found = np.zeros(len(words), bool)
    for start, _, size in SequenceMatcher(a=words, b=other.casefold().split(), autojunk=False).get_matching_blocks():
        found[start : start + size] = True
    return found


def matched(overlaps: np.ndarray, least: float = 0.5) -> np.ndarray:
    """Which rows of an overlap matrix (n, m), bool (n,), have a column of their own with at least so much overlap."""
    from anymodal.families.boxes import match

    found = np.zeros(len(overlaps), bool)
    for row, _ in match(np.where(overlaps >= least, overlaps, 0)):
        found[row] = True
    return found


def grouped(draws: Sequence[Sequence[Any]], overlaps: Has, least: float = 0.5) -> list[list[Any]]:
    """The parts of several draws in groups, each of one thing and with at most one part of a draw.

    Args:
        draws: the parts of each draw.
        overlaps: of two lists of parts, float (n, m): how much each of the first overlaps each of the second. It is
            called once, with the parts of all draws.
        least: how much a part overlaps those of its group at least, on average.

    Returns:
        The groups, what most draws have first; every part is in one.
    """
    from anymodal.families.boxes import match

    parts = [part for draw in draws for part in draw]
    between, numbers = overlaps(parts, parts), iter(range(len(parts)))
    groups: list[list[int]] = []
    for draw in draws:
        mine = [next(numbers) for _ in draw]
        table = np.array([between[np.ix_(mine, group)].mean(1) for group in groups]).reshape(len(groups), len(mine)).T
        found = dict(match(np.where(table >= least, table, 0)))
        for row, number in enumerate(mine):
            if row in found:
                groups[found[row]].append(number)
            else:
                groups.append([number])
    return [[parts[number] for number in group] for group in sorted(groups, key=len, reverse=True)]
