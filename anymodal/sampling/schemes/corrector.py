"""Decided tokens of the least margin are predicted again (after informed correctors, Zhao et al., arXiv 2407.21243).

The paper scores every token by a network that does not see it. This one sees all that is decided, so the margin is that
of the pass in which a token was decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.config.validators import at_least, between, integer, one_of, real
from anymodal.sampling.schemes.base import SCHEMES, Change, Choices, GridState, Ordered, Predicted, Step
from anymodal.sampling.schemes.halton import Halton

if TYPE_CHECKING:
    import numpy as np

    from anymodal.sampling.options import Sampling
else:
    from anymodal.lazy import np


@SCHEMES.add
@attrs.frozen
class Corrector(Ordered):
    """An order, "random" or "halton", whose last `passes` steps decide the `part` of the grid anew that was least sure.

    Least sure is where the most likely id was hardly more probable than the next. All passes are among the `steps`.
    """

    name: str = attrs.field(init=False, default="corrector")
    measured: ClassVar[bool] = True
    passes: int = attrs.field(default=2, converter=integer, validator=at_least(1))
    part: float = attrs.field(default=0.25, converter=real, validator=between(0, 1, above=True))
    along: str = attrs.field(default="halton", validator=one_of("random", "halton"))

    def order(self, shape: tuple[int, int], unknown: np.ndarray, choices: Choices) -> np.ndarray:
        return choices.order(unknown) if self.along == "random" else Halton().order(shape, unknown, choices)

    def plan(self, total: int, how: Sampling, choices: Choices) -> list[Step]:
        passes = min(self.passes, how.steps - 1)
        steps = attrs.evolve(how, steps=how.steps - passes).plan(total)
        if not steps or not passes:
            return steps
        count, last = max(1, round(self.part * total)), steps[-1]
        again = [Step(count, last.temperature, count if k < passes - 1 else 0) for k in range(passes)]
        return [*steps[:-1], attrs.evolve(last, reopen=count), *again]

    def score(self, predicted: Predicted) -> np.ndarray:
        assert predicted.margin is not None
        return predicted.margin

    def step(self, state: GridState, predicted: Predicted, choices: Choices) -> Change:
        known = np.append(state.decided, predicted.positions)
        least = np.argsort(np.append(state.scores, self.score(predicted)), kind="stable")[: state.step.reopen]
        return Change(np.arange(len(predicted.ids)), known[least])
