"""The mean code under the predicted probabilities, in one pass."""

from __future__ import annotations

from typing import ClassVar

import attrs

from anymodal.sampling.schemes.base import SCHEMES, Scheme


@SCHEMES.add
@attrs.frozen
class Mean(Scheme):
    """The mean code under the predicted probabilities."""

    name: str = attrs.field(init=False, default="mean")
    draws: ClassVar[bool] = False
    implementation: ClassVar[str | type] = "anymodal.generation.means:MeanCode"
