"""As many tokens a step as can be told apart (entropy-bounded unmasking, Ben-Hamu et al., arXiv 2505.24857)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.config.validators import at_least, one_of, real
from anymodal.sampling.schemes.base import SCHEMES, Change, Choices, GridScheme, GridState, Predicted

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


@SCHEMES.add
@attrs.frozen
class EntropyBound(GridScheme):
    """The surest positions, as many as keep the sum of their entropies but the largest within `bound` nats.

    That sum bounds what is lost by drawing them at once. `by` ranks them: entropy, confidence or margin. At least one
    is decided, and so many that `steps` passes are enough; there may be fewer passes.
    """

    name: str = attrs.field(init=False, default="entropy")
    measured: ClassVar[bool] = True
    bound: float = attrs.field(default=1.0, converter=real, validator=at_least(0))
    by: str = attrs.field(default="entropy", validator=one_of("entropy", "confidence", "margin"))

    def step(self, state: GridState, predicted: Predicted, choices: Choices) -> Change:
        entropy, margin = predicted.entropy, predicted.margin
        assert entropy is not None and margin is not None
        ranks = {"entropy": entropy, "confidence": -predicted.confidence, "margin": -margin}[self.by]
        order = np.argsort(ranks, kind="stable")
        ordered = entropy[order]
        lost = np.cumsum(ordered) - np.maximum.accumulate(ordered)
        least = -(-len(order) // state.steps_left)
        within = int(np.searchsorted(lost, self.bound + 1e-9, side="right"))
        return Change(order[: max(within, least)])
