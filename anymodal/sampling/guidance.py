"""How strongly the inputs guide a target (classifier-free guidance), constant or changing while it is generated.

A guidance gives a scale for the share of the target that is decided: 1 is the model as it is, 0 leaves the input out.
Guided scores are log probabilities of ids, and each step decides the tokens of its schedule: the mass that guidance
adds to or takes from a distribution is normalized away before a token is drawn. That is how we read the correction of
arXiv 2507.08965, whose finding that early guidance harms is in `Rising` and `Interval`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import HEAVIEST, at_least, between, is_number, real, weighed
from anymodal.errors import ConfigError, GenerationError
from anymodal.sampling.spelling import parsed, spelled, word


@attrs.frozen
class Guidance(ABC):
    """How strongly inputs count. Add your own: a frozen attrs class of numbers, under ``@GUIDANCES.add``."""

    name: str = attrs.field(init=False)
    rescale: ClassVar[float] = 0.0

    @abstractmethod
    def scale_at(self, share: float) -> float:
        """The scale of a step before which this share (0..1) of the target was decided."""

    @property
    def off(self) -> bool:
        """Whether it changes nothing, so that no second pass is needed."""
        return False

    def __str__(self) -> str:
        return spelled(self)


GUIDANCES: SettingsTable[Guidance] = SettingsTable(Guidance, "guidance", default="constant")  # type: ignore[type-abstract]


@GUIDANCES.add
@attrs.frozen
class Constant(Guidance):
    """Always the same; written as a number alone."""

    name: str = attrs.field(init=False, default="constant")
    scale: float = attrs.field(converter=real, validator=between(-HEAVIEST, HEAVIEST))

    def scale_at(self, share: float) -> float:
        return self.scale

    @property
    def off(self) -> bool:
        return self.scale == 1

    def __str__(self) -> str:
        return word(self.scale)


@GUIDANCES.add
@attrs.frozen
class Interval(Guidance):
    """A scale while the share that is decided is in [low, high), else 1: steps outside cost one pass (2404.07724)."""

    name: str = attrs.field(init=False, default="interval")
    scale: float = attrs.field(converter=real, validator=between(-HEAVIEST, HEAVIEST))
    low: float = attrs.field(default=0.25, converter=real, validator=between(0, 1))
    high: float = attrs.field(default=1.0, converter=real, validator=between(0, 1))

    def __attrs_post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(
                f"an interval of guidance is from LOW to a HIGH above it, got {word(self.low)} and {word(self.high)}"
            )

    def scale_at(self, share: float) -> float:
        return self.scale if self.low <= share < self.high else 1.0


@GUIDANCES.add
@attrs.frozen
class Rising(Guidance):
    """From 1 to the scale with the share that is decided, as share ** power (2507.08965: early guidance harms)."""

    name: str = attrs.field(init=False, default="rising")
    scale: float = attrs.field(converter=real, validator=between(-HEAVIEST, HEAVIEST))
    power: float = attrs.field(default=1.0, converter=real, validator=at_least(0))

    def scale_at(self, share: float) -> float:
        return 1.0 + (self.scale - 1.0) * share**self.power


@GUIDANCES.add
@attrs.frozen
class Normalized(Guidance):
    """A constant scale whose scores spread over the ids no wider than without guidance (arXiv 2305.08891, eq. 15).

    `rescale` mixes: 1 gives the spread of the conditional scores, 0 that of the guided ones.
    """

    name: str = attrs.field(init=False, default="normalized")
    scale: float = attrs.field(converter=real, validator=between(-HEAVIEST, HEAVIEST))
    rescale: float = attrs.field(default=0.7, converter=real, validator=between(0, 1))  # type: ignore[misc]

    def scale_at(self, share: float) -> float:
        return self.scale


def as_guidance(value: object) -> Guidance:
    """A guidance from a number, NAME:NUMBER:.. or a block. Raises ConfigError."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if is_number(value):
        return Constant(weighed(value, "guidance", -HEAVIEST))
    if isinstance(value, (str, dict, Guidance)):
        return parsed(value, GUIDANCES)
    raise ConfigError(f"guidance is a number, NAME:NUMBER or a block, got {value!r:.80}")


def check_guides(weights: object, common: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise GenerationError where weights and a guidance are asked for, of all targets or of one by its options.

    Only one of them can guide; a guidance of 1, which is none, may stand beside weights.
    """
    for name, asked in {"": common, **options}.items() if weights else ():
        if "guidance" in asked and not as_guidance(asked["guidance"]).off:
            whose = f" of {name!r}" if name else ""
            raise GenerationError(
                f"guidance{whose} is {asked['guidance']!s:.80}, and weights guide in its place: leave out one of them"
            )
