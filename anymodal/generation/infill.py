"""One sequence while it is written into the holes of its prompt (4M, arXiv 2312.06647)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
from torch import Tensor

from anymodal.masking import merge_spans
from anymodal.partial import OPEN
from anymodal.spaces import TokenSpace

BARRED = -1e9  # a score of what cannot be drawn; finite, so that damaged scores can be told from it


def room_beside(prompt: np.ndarray, space: TokenSpace) -> int | None:
    """How many tokens may be written into a prompt (n,) whose known ones all stay; None where it has no known ones."""
    known = int((~space.is_sentinel(prompt) & (prompt != space.end)).sum())
    return max(space.length - 1 - known, 0) if known else None


def without_ends(scores: Tensor, texts: Sequence[Text | None]) -> Tensor:
    """Scores (n, V) of the next token of each text, in which an `open` one cannot be ended."""
    rows = [row for row, text in enumerate(texts) if text is not None and text.open]
    if not rows:
        return scores
    first_open = texts[rows[0]]
    assert first_open is not None
    space, scores = first_open.space, scores.clone()
    first, count = space.sentinels or (0, 0)
    scores[rows, first : first + count] = BARRED
    scores[rows, space.end] = BARRED
    return scores


class Text:
    """A sequence in the making: `prompt` (n,) are known ids with a sentinel for each hole, all unknown is [S_1].

    The holes are written in order, each after its sentinel. It is done at the end mark, or at a sentinel that opens no
    hole of the prompt, or when there is no `room` for more tokens beside those that are known.

    What is written begins with `start` (n,), in which the model decides what is OPEN, and no end is written there.
    """

    def __init__(
        self, prompt: np.ndarray, space: TokenSpace, room: int | None = None, start: np.ndarray | None = None
    ) -> None:
        self.space, self.done, self.full = space, False, False
        self.prompt, self.room = prompt, room
        self.start: list[int] = [] if start is None else start.tolist()
        self.written = [space.sentinel(1)]
        self._holes = set(prompt[space.is_sentinel(prompt)].tolist()) - set(self.written)

    @property
    def last(self) -> int:
        """The id written last; at first the sentinel of the first hole."""
        return self.written[-1]

    @property
    def given(self) -> int | None:
        """The next id where the start says which; None where the model decides."""
        token = self._started
        return None if token == OPEN else token

    @property
    def _started(self) -> int | None:
        """The next entry of the start; None after it."""
        rank = len(self.written) - 1
        return self.start[rank] if rank < len(self.start) else None

    @property
    def open(self) -> bool:
        """Whether the next token must not end the hole: one beside known tokens stands for at least one."""
        if self.start:
            return self._started == OPEN
        return self.room is not None and not self.done and self._is_sentinel(self.last)

    def add(self, token: int) -> None:
        """Go on with a token, or with that of the start instead; after the end it is passed over."""
        if not self.done:
            token = token if self.given is None else self.given
            if self.room is not None and self._holes and (self._ending(token) or self._crowded):
                token = min(self._holes)  # an end before all holes are filled is that of a hole
            self.written.append(token)
            self.done = self.ends(token)
            if not self.done and self.room is not None:
                self.full = self.done = self._filled >= self.room

    def continued(self, token: int) -> Text:
        """Another text that goes on with a token; this one stays as it is."""
        other = copy(self)
        other.written, other._holes = list(self.written), set(self._holes)
        other.add(token)
        return other

    def ends(self, token: int) -> bool:
        """Whether the text is done with a token that was just written."""
        if token in self._holes:
            self._holes.remove(token)
            return False
        return self._ending(token)

    @property
    def _filled(self) -> int:
        """How many tokens are in holes."""
        return int((~self.space.is_sentinel(np.array(self.written))).sum())

    @property
    def _crowded(self) -> bool:
        """Whether there is room for one token in each hole that is left, and no more."""
        assert self.room is not None
        return not self.open and self._filled >= self.room - len(self._holes)

    def _ending(self, token: int) -> bool:
        return token == self.space.end or self._is_sentinel(token)

    def _is_sentinel(self, token: int) -> bool:
        return bool(self.space.is_sentinel(np.array(token)))

    def value(self, length: int, count: int | None = None) -> np.ndarray:
        """The ids with the holes filled in.

        Args:
            length: how many there may be.
            count: how many of the written ids count, the sentinel at the start among them; None: all.

        Returns:
            (n,) int64, closed by the end mark.
        """
        count = len(self.written) if count is None else count
        written = self.written[: count - 1 if self.done and not self.full and count == len(self.written) else count]
        merged = merge_spans(self.prompt, np.array(written, np.int64), self.space)
        kept = merged[merged != self.space.end][: length - 1].tolist()
        return np.array([*kept, self.space.end], np.int64)
