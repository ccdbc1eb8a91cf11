"""Random order (4M, arXiv 2312.06647)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from anymodal.sampling.schemes.base import SCHEMES, Choices, Ordered

if TYPE_CHECKING:
    import numpy as np


@SCHEMES.add
@attrs.frozen
class Roar(Ordered):
    """Positions in random order."""

    name: str = attrs.field(init=False, default="roar")

    def order(self, shape: tuple[int, int], unknown: np.ndarray, choices: Choices) -> np.ndarray:
        return choices.order(unknown)
