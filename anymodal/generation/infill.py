"""One sequence while it is written into the holes of its prompt (4M, arXiv 2312.06647)."""

from __future__ import annotations

import numpy as np

from anymodal.masking import merge_spans
from anymodal.spaces import TokenSpace


class Text:
    """A sequence in the making: `prompt` (n,) are known ids with a sentinel for each hole, all unknown is [S_1].

    The holes are written in order, each after its sentinel. It is done at the end mark, or at a sentinel that opens no
    hole of the prompt; with `until` at that id alone.
    """

    def __init__(self, prompt: np.ndarray, space: TokenSpace, until: int | None = None) -> None:
        self.space, self.until, self.done = space, until, False
        self._prompt = prompt
        self._written = [space.sentinel(1)]
        self._holes = set(prompt[space.is_sentinel(prompt)].tolist()) - set(self._written)

    @property
    def last(self) -> int:
        return self._written[-1]

    def add(self, token: int) -> None:
        """Go on with a token; after the end it is passed over."""
        if self.done:
            return
        self._written.append(token)
        if self.until is not None:
            self.done = token == self.until
        elif token in self._holes:
            self._holes.remove(token)
        else:
            self.done = token == self.space.end or bool(self.space.is_sentinel(np.array(token)))

    def value(self, length: int) -> np.ndarray:
        """The ids (n,) with the holes filled in. They close with the end mark and are at most `length`, unless `until`
        made the end: it stays if it is no sentinel."""
        if self.until is not None:
            return merge_spans(self._prompt, np.array(self._written, np.int64), self.space)
        written = self._written[:-1] if self.done else self._written
        merged = merge_spans(self._prompt, np.array(written, np.int64), self.space)
        kept = merged[merged != self.space.end][: length - 1].tolist()
        return np.array([*kept, self.space.end], np.int64)
