"""Sequences token by token, drawn or as the most likely of several."""

from __future__ import annotations

from typing import ClassVar

import attrs

from anymodal.config.validators import between, integer, real
from anymodal.sampling.schemes.base import SCHEMES, Scheme


@SCHEMES.add
@attrs.frozen
class Autoregressive(Scheme):
    """Token by token."""

    name: str = attrs.field(init=False, default="autoregressive")
    sequences: ClassVar[bool] = True
    implementation: ClassVar[str | type] = "anymodal.generation.sequences:Autoregressive"


@SCHEMES.add
@attrs.frozen
class Beam(Scheme):
    """The likeliest of `width` sequences that are written side by side: nothing is drawn.

    They are compared by their log probability over length ** `penalty` (Wu et al., arXiv 1609.08144, without its
    constant); 0 prefers short ones.
    """

    name: str = attrs.field(init=False, default="beam")
    sequences: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    implementation: ClassVar[str | type] = "anymodal.generation.beams:BeamSearch"
    width: int = attrs.field(default=4, converter=integer, validator=between(1, 64))
    penalty: float = attrs.field(default=1.0, converter=real, validator=between(0, 10))
