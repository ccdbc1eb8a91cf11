"""One sequence while it is written into the holes of its prompt (4M, arXiv 2312.06647)."""

from __future__ import annotations

import numpy as np

from anymodal.masking import merge_spans
from anymodal.spaces import TokenSpace


class Text:
    """A sequence in the making: `prompt` (n,) are known ids with a sentinel for each hole, all unknown is [S_1].

    The holes are written in order, each after its sentinel. It is done at the end mark, or at a sentinel that opens no
    hole of the prompt.
    """

    def __init__(self, prompt: np.ndarray, space: TokenSpace) -> None:
        self.space, self.done = space, False
        self.prompt = prompt
        self.written = [space.sentinel(1)]
        self._holes = set(prompt[space.is_sentinel(prompt)].tolist()) - set(self.written)

    @property
    def last(self) -> int:
        """The id written last; at first the sentinel of the first hole."""
        return self.written[-1]

    def add(self, token: int) -> None:
        """Go on with a token; after the end it is passed over."""
        if not self.done:
            self.written.append(token)
            self.done = self.ends(token)

    def ends(self, token: int) -> bool:
        """Whether the text is done with a token that was just written."""
        if token in self._holes:
            self._holes.remove(token)
            return False
        return token == self.space.end or bool(self.space.is_sentinel(np.array(token)))

    def value(self, length: int, count: int | None = None) -> np.ndarray:
        """The ids with the holes filled in.

        Args:
            length: how many there may be.
            count: how many of the written ids count, the sentinel at the start among them; None: all.

        Returns:
            (n,) int64, closed by the end mark.
        """
        count = len(self.written) if count is None else count
        written = self.written[: count - 1 if self.done and count == len(self.written) else count]
        merged = merge_spans(self.prompt, np.array(written, np.int64), self.space)
        kept = merged[merged != self.space.end][: length - 1].tolist()
        return np.array([*kept, self.space.end], np.int64)
