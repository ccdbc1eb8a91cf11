"""`Sampling`: all options of how a target is generated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

import attrs

from anymodal.config.validators import at_least, at_most, integer, real
from anymodal.errors import ConfigError, nearest
from anymodal.sampling.anneals import ANNEALS, HIGHEST, Anneal, ConstantAnneal
from anymodal.sampling.guidance import Constant, Guidance, as_guidance
from anymodal.sampling.schedules import TOKEN_SCHEDULES, LinearSchedule, TokenSchedule
from anymodal.sampling.schemes.base import SCHEMES, Scheme, Step
from anymodal.sampling.schemes.roar import Roar
from anymodal.sampling.spelling import parsed, plain

SITUATIONS = ("grounded", "free")  # with a photographic input and without: what a checkpoint's own settings tell apart
MOST_STEPS, MOST_SAMPLES, MOST_VIEWS = 10_000, 1000, 64  # far beyond what helps; more would only take time and memory


def _scheme(value: Scheme | str) -> Scheme:
    return parsed(value, SCHEMES)


def _schedule(value: TokenSchedule | str) -> TokenSchedule:
    return parsed(value, TOKEN_SCHEDULES)


def _anneal(value: Anneal | str) -> Anneal:
    return parsed(value, ANNEALS)


def _guidance(value: Guidance | float | str) -> Guidance:
    return as_guidance(value)


def name_or_nothing(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """The value is the name of a modality, or "" for none."""
    if not isinstance(value, str):
        raise ConfigError(f"{attribute.name} is the name of an input, got {value!r:.80}")


@attrs.frozen(kw_only=True)
class Sampling:
    """How a target is generated.

    Grids: `scheme` 'maskgit' (predict all, keep the most confident), 'roar' (random order), 'halton' (far from one
    another first), 'entropy' (as many as are sure), 'remask' and 'corrector' (which think again), in `steps` forward
    passes whose shares follow `schedule` ('linear' or 'cosine'), or 'mean' (one pass; the value is decoded from the
    mean code under the predicted probabilities, the tokens are the most likely ones). Sequences: 'autoregressive' or
    'beam'. `temperature` 0 takes the most likely token; `anneal` is 'constant', 'linear', 'onex:MINIMUM:POWER' or
    'down:MINIMUM'. `top_k`, `top_p` and `min_p` 0 mean off; `guidance` is a number, of which 1 means none, 'interval',
    'rising' or 'normalized'. What a grid is made from is encoded anew in every `refresh`-th step; in between only what
    was decided is (ReCAP, arXiv 2505.19089). Of `samples` draws one value is made: merged, averaged or chosen, as the
    modality can; `choose` names an input instead, and the draw stays that makes it most likely. With several `views`
    what is given is seen mirrored and moved, too: of 'mean' the value is the mean over them, of texts each word is what
    is believed of all of them, and of boxes and the like each draw is of one. Raises ConfigError for what cannot be.
    """

    scheme: Scheme = attrs.field(default=Roar(), converter=_scheme)
    steps: int = attrs.field(default=8, converter=integer, validator=[at_least(1), at_most(MOST_STEPS)])
    schedule: TokenSchedule = attrs.field(default=LinearSchedule(), converter=_schedule)
    temperature: float = attrs.field(default=1.0, converter=real, validator=[at_least(0), at_most(HIGHEST)])
    anneal: Anneal = attrs.field(default=ConstantAnneal(), converter=_anneal)
    top_k: int = attrs.field(default=0, converter=integer, validator=at_least(0))
    top_p: float = attrs.field(default=0.0, converter=real, validator=[at_least(0), at_most(1)])
    min_p: float = attrs.field(default=0.0, converter=real, validator=[at_least(0), at_most(1)])
    guidance: Guidance = attrs.field(default=Constant(1.0), converter=_guidance)
    refresh: int = attrs.field(default=1, converter=integer, validator=at_least(1))
    views: int = attrs.field(default=1, converter=integer, validator=[at_least(1), at_most(MOST_VIEWS)])
    samples: int = attrs.field(default=1, converter=integer, validator=[at_least(1), at_most(MOST_SAMPLES)])
    choose: str = attrs.field(default="", validator=name_or_nothing)

    def plan(self, total: int) -> list[Step]:
        """The steps that decide `total` positions of a grid; steps without tokens are left out.

        Raises ConfigError if the schedule or the anneal, of a third party, returns something that cannot be.
        """
        if not total:
            return []
        counts = [int(count) for count in self.schedule.counts(total, self.steps)]
        if sum(counts) != total or min(counts) < 0:
            raise ConfigError(f"the token schedule {self.schedule} gives {counts!r:.80}, which are not {total} tokens")
        counts = [count for count in counts if count]
        temperatures = self.anneal.temperatures(self.temperature, counts)
        if len(temperatures) != len(counts) or not all(t >= 0 for t in temperatures):
            raise ConfigError(
                f"the temperature anneal {self.anneal} gives {temperatures!r:.80} for {len(counts)} steps"
            )
        return list(map(Step, counts, temperatures))


def plain_options(sampling: Sampling) -> dict[str, Any]:
    """The options as plain data, of which `Sampling` makes the same one."""
    options = {field.name: getattr(sampling, field.name) for field in attrs.fields(Sampling)}
    for option, value in options.items():
        if isinstance(value, Constant):
            options[option] = value.scale
        elif attrs.has(type(value)):
            options[option] = plain(value)
    return options


class SamplingOptions(TypedDict, total=False):
    """The options of `Sampling` as keyword arguments, for type checkers: a misspelled one is an error there too."""

    scheme: str | Scheme
    steps: int
    schedule: str | TokenSchedule
    temperature: float
    anneal: str | Anneal
    top_k: int
    top_p: float
    min_p: float
    guidance: float | str | Guidance
    refresh: int
    views: int
    samples: int
    choose: str


def check_situations(what: str, names: Iterable[str]) -> None:
    """Raise ConfigError for what is no situation, in which a checkpoint has settings of its own."""
    for name in names:
        if name not in SITUATIONS:
            raise ConfigError(f"{what} has {name!r}{nearest(name, SITUATIONS)}; known: {', '.join(SITUATIONS)}")
