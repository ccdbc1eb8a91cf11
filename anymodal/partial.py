"""What is known of a target before it is generated: part of a grid, or a text with holes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import numpy as np


@attrs.frozen(eq=False)
class Partial:
    """The part of a value that is kept while the rest is generated.

    tokens: ids (n,) of the main stream; in a sequence with a sentinel for each hole.
    positions: (n,) of the tokens in a grid, ascending; None for a sequence.
    finish: the final value, of the generated one and the ids (m,) it was decoded from.
    """

    tokens: np.ndarray
    positions: np.ndarray | None
    finish: Callable[[Any, np.ndarray], Any]
