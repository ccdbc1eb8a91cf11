"""Tokens that were decided are opened again (remasking diffusion, ReMDM, Wang et al., arXiv 2503.00307).

The paper draws for every token whether it is masked again; here each step has a whole number of them, as it has of
tokens that it decides. Its bound, sigma <= (1 - alpha_s) / alpha_t, says that a step opens no more than what the
schedule has open after it. Of the variant "conf" the paper's formula, softmax(-confidence) * sigma, would add up to
sigma for all tokens together; it is read as a share of the expected number of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from anymodal.config.validators import between, one_of, real
from anymodal.sampling.schemes.base import SCHEMES, Change, Choices, GridScheme, GridState, Predicted, Step

if TYPE_CHECKING:
    import numpy as np

    from anymodal.sampling.options import Sampling
else:
    from anymodal.lazy import np


@SCHEMES.add
@attrs.frozen
class Remask(GridScheme):
    """Random order; after each step some decided tokens are open again, and decided anew with more around them.

    `rate` of the decided ones are, as far as the schedule has as many open: at random ("cap"), rather those of little
    confidence ("conf"), or only in a loop ("loop") in which `held` of the grid is decided and that takes a `share` of
    the steps. "rescale" opens `rate` of the most that could be.
    """

    name: str = attrs.field(init=False, default="remask")
    variant: str = attrs.field(default="conf", validator=one_of("cap", "rescale", "conf", "loop"))
    rate: float = attrs.field(default=0.1, converter=real, validator=between(0, 1))
    held: float = attrs.field(default=0.9, converter=real, validator=between(0, 1))
    share: float = attrs.field(default=0.4, converter=real, validator=between(0, 1))

    def order(self, shape: tuple[int, int], unknown: np.ndarray, choices: Choices) -> np.ndarray:
        return choices.order(unknown)

    def plan(self, total: int, how: Sampling, choices: Choices) -> list[Step]:
        loops = min(round(self.share * how.steps), max(how.steps - 2, 0)) if self.variant == "loop" else 0
        base = attrs.evolve(how, steps=how.steps - loops).plan(total)
        steps: list[Step] = []
        done, looped = 0, not loops
        for k, step in enumerate(base):
            after = done + step.count
            again = 0 if self.variant == "loop" else self._again(done, total - after, choices)
            steps.append(Step(step.count + again, step.temperature, again))
            if not looped and after < total and (after >= self.held * total or k == len(base) - 2):
                counts = (max(1, self._again(after, total - after, choices)) for _ in range(loops))
                steps += [Step(count, step.temperature, count) for count in counts]
                looped = True
            done = after
        return steps

    def _again(self, done: int, most: int, choices: Choices) -> int:
        """How many of the tokens that are `done` are opened again, where `most` may be: right on average."""
        wanted = self.rate * (most if self.variant == "rescale" else done)
        return min(int(wanted + float(choices.uniform(1)[0])), most, done)

    def request(self, state: GridState, choices: Choices) -> np.ndarray:
        if state.number and state.plan[state.number - 1].reopen:
            state.open = choices.order(state.open)
        return np.sort(state.open[: state.step.count])

    def step(self, state: GridState, predicted: Predicted, choices: Choices) -> Change:
        reopened = state.decided[np.argsort(self._keys(state, choices), kind="stable")[: state.step.reopen]]
        return Change(np.arange(len(predicted.ids)), reopened)

    def _keys(self, state: GridState, choices: Choices) -> np.ndarray:
        """Random numbers (m,) of the decided tokens; those of the smallest are opened again."""
        uniform = np.clip(np.asarray(choices.uniform(len(state.decided)), np.float64), 1e-12, 1.0)
        # The smallest of exponential numbers with rates exp(-confidence): a draw without replacement by these weights.
        return -np.log(uniform) * (np.exp(state.scores) if self.variant == "conf" else 1.0)
