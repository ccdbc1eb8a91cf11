"""What is known of a target before it is generated: part of a grid, a text with holes, or how a sequence begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import numpy as np

OPEN = -1  # in the beginning of a sequence: a token that the model decides


@attrs.frozen(eq=False)
class Partial:
    """The part of a value that is given while the rest is generated.

    What is kept is read by the encoder, what a sequence begins with is written by the decoder.

    tokens: ids (n,) of the main stream that are kept; in a sequence with a sentinel for each hole.
    positions: (n,) of the tokens in a grid, ascending; None for a sequence.
    finish: the final value, of the generated one and the ids (m,) it was decoded from.
    start: ids (n,) that a sequence begins with, OPEN for those that the model decides; nothing follows an end mark.
    unite: the final value of the ids (m,) of several draws, and how unsure its parts are; None: that of the first.
    """

    tokens: np.ndarray
    positions: np.ndarray | None
    finish: Callable[[Any, np.ndarray], Any]
    start: np.ndarray | None = None
    unite: Callable[[Sequence[np.ndarray]], tuple[Any, np.ndarray | None]] | None = None
