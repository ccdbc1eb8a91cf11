"""The most confident first (MaskGIT, arXiv 2202.04200)."""

from __future__ import annotations

import attrs

from anymodal.sampling.schemes.base import SCHEMES, Change, Choices, GridScheme, GridState, Predicted


@SCHEMES.add
@attrs.frozen
class MaskGit(GridScheme):
    """All open positions are predicted, the most confident are kept."""

    name: str = attrs.field(init=False, default="maskgit")

    def step(self, state: GridState, predicted: Predicted, choices: Choices) -> Change:
        return Change(choices.choose(predicted.ids, predicted.confidence, state.step.count))
