"""How a target is generated: the scheme, how many tokens each step decides, and at which temperature.

Three tables hold the choices: `SCHEMES`, `TOKEN_SCHEDULES` and `ANNEALS`. Another distribution adds its own with their
`add`, or by an entry point in the group "anymodal.sampling_schemes", "anymodal.token_schedules" or
"anymodal.temperature_anneals". Schedules and anneals are small classes with their own numbers; users write them as NAME
or NAME:NUMBER:.., with the numbers in the order of the fields. The published ones are those of 4M (arXiv 2312.06647).
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import attrs

from anymodal.config.tables import SettingsTable, init_fields
from anymodal.config.validators import at_least, at_most, finite, integer, real
from anymodal.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

HIGHEST = 1000.0  # of temperatures, and of powers in an anneal
COLDEST = 1e-9  # of the linear anneal


def _spelled(choice: Any) -> str:
    """NAME or NAME:NUMBER:.. of an entry of a table."""
    name = getattr(choice, "name", type(choice).__name__)  # without a name where it is in no table
    return ":".join([name, *(f"{getattr(choice, field):g}" for field in init_fields(type(choice)))])


def _parsed(value: object, table: SettingsTable[Any]) -> Any:
    """An entry from NAME or NAME:NUMBER:.., or what else the table takes. Raises ConfigError."""
    if not isinstance(value, str):
        return table(value)
    name, *parts = value.split(":")
    kind = table[name]
    fields = init_fields(kind)
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not len(numbers) == len(parts) == len(fields):
        form = ":".join([name, *(field.upper() for field in fields)])
        raise ConfigError(f"{value!r:.80} is not of the form {form}, with numbers")
    return kind(**dict(zip(fields, numbers, strict=True)))


# Token schedules.


@attrs.frozen
class TokenSchedule(ABC):
    """How many tokens of a grid each forward pass decides.

    Add your own: a frozen attrs class whose fields are numbers, under ``@TOKEN_SCHEDULES.add``.
    """

    name: str = attrs.field(init=False)

    @abstractmethod
    def counts(self, total: int, steps: int) -> list[int]:
        """Tokens of each step, which sum to `total` (at least 1), in at most `steps` steps; none may be negative."""

    def __str__(self) -> str:
        return _spelled(self)


TOKEN_SCHEDULES: SettingsTable[TokenSchedule] = SettingsTable(TokenSchedule, "token schedule", default="linear")  # type: ignore[type-abstract]


@TOKEN_SCHEDULES.add
@attrs.frozen
class LinearSchedule(TokenSchedule):
    """Even, the larger steps first."""

    name: str = attrs.field(init=False, default="linear")

    def counts(self, total: int, steps: int) -> list[int]:
        return sorted(np.diff(np.linspace(0, total, steps + 1).astype(int)).tolist(), reverse=True)


@TOKEN_SCHEDULES.add
@attrs.frozen
class CosineSchedule(TokenSchedule):
    """The differences of (1 + cos(pi i / steps)) / 2: few tokens at the start and at the end."""

    name: str = attrs.field(init=False, default="cosine")

    def counts(self, total: int, steps: int) -> list[int]:
        left = [0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)] + [0.0]
        counts: list[int] = []
        for i in range(steps):
            wanted = round(total * (left[i] - left[i + 1])) if i < steps - 1 else total
            counts.append(min(wanted, total - sum(counts)))
        return counts


# Anneals of the temperature.


@attrs.frozen
class Anneal(ABC):
    """How the temperature of a grid changes from step to step.

    Add your own: a frozen attrs class whose fields are numbers, under ``@ANNEALS.add``.
    """

    name: str = attrs.field(init=False)

    @abstractmethod
    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        """A temperature of at least 0 for each step; `counts` are the tokens of the steps, at least 1 each."""

    def __str__(self) -> str:
        return _spelled(self)


ANNEALS: SettingsTable[Anneal] = SettingsTable(Anneal, "temperature anneal", default="constant")  # type: ignore[type-abstract]


@ANNEALS.add
@attrs.frozen
class ConstantAnneal(Anneal):
    """Always the same."""

    name: str = attrs.field(init=False, default="constant")

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        return [temperature] * len(counts)


@ANNEALS.add
@attrs.frozen
class LinearAnneal(Anneal):
    """In proportion to the tokens that are left before the step."""

    name: str = attrs.field(init=False, default="linear")

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        done = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.maximum(temperature * (1 - done / sum(counts)), COLDEST).tolist()


@ANNEALS.add
@attrs.frozen
class InverseAnneal(Anneal):
    """Falls like x ** -power for x from 1 to 100, times the share of tokens left, to `minimum`."""

    name: str = attrs.field(init=False, default="onex")
    minimum: float = attrs.field(converter=real, validator=[at_least(0), at_most(HIGHEST)])
    power: float = attrs.field(converter=real, validator=[at_least(0), at_most(HIGHEST)])

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        total = sum(counts)
        curve = np.linspace(1, 100, total) ** -self.power
        span = curve[0] - curve[-1]
        unit = (curve - curve[-1]) / span if span > 0 else np.ones(total)
        left = 1 - np.cumsum(counts) / total
        return (self.minimum + (temperature - self.minimum) * unit[: len(counts)] * left).tolist()


@ANNEALS.add
@attrs.frozen
class FallingAnneal(Anneal):
    """Straight down to `minimum` with the share of tokens decided after the step."""

    name: str = attrs.field(init=False, default="down")
    minimum: float = attrs.field(converter=real, validator=[at_least(0), at_most(HIGHEST)])

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        return (temperature + (self.minimum - temperature) * np.cumsum(counts) / sum(counts)).tolist()


# Schemes.


@attrs.frozen
class Scheme:
    """A way of decoding grids, or `sequences`, and the class that does it.

    `implementation` is a subclass of `anymodal.generation.GenerationScheme`, or where it is ("module:Class"), so that
    describing how something is sampled imports no torch. Add your own under ``@SCHEMES.add``.
    """

    name: str = attrs.field(init=False)
    sequences: ClassVar[bool] = False
    implementation: ClassVar[str | type]

    @classmethod
    def load(cls) -> Any:
        """The class that decodes."""
        if isinstance(cls.implementation, type):
            return cls.implementation
        module, _, name = cls.implementation.partition(":")
        return getattr(importlib.import_module(module), name)


SCHEMES = SettingsTable(Scheme, "sampling scheme", default="roar")


@SCHEMES.add
@attrs.frozen
class MaskGit(Scheme):
    """All open positions are predicted, the most confident are kept."""

    name: str = attrs.field(init=False, default="maskgit")
    implementation: ClassVar[str | type] = "anymodal.generation.grids:MostConfident"


@SCHEMES.add
@attrs.frozen
class Roar(Scheme):
    """Positions in random order."""

    name: str = attrs.field(init=False, default="roar")
    implementation: ClassVar[str | type] = "anymodal.generation.grids:RandomOrder"


@SCHEMES.add
@attrs.frozen
class Mean(Scheme):
    """The mean code under the predicted probabilities."""

    name: str = attrs.field(init=False, default="mean")
    implementation: ClassVar[str | type] = "anymodal.generation.grids:MeanCode"


@SCHEMES.add
@attrs.frozen
class Autoregressive(Scheme):
    """Token by token."""

    name: str = attrs.field(init=False, default="autoregressive")
    sequences: ClassVar[bool] = True
    implementation: ClassVar[str | type] = "anymodal.generation.sequences:Autoregressive"


def _scheme(value: object) -> str:
    return SCHEMES(value).name


def _schedule(value: TokenSchedule | str) -> TokenSchedule:
    return _parsed(value, TOKEN_SCHEDULES)


def _anneal(value: Anneal | str) -> Anneal:
    return _parsed(value, ANNEALS)


@attrs.frozen
class Step:
    """One forward pass of a grid: how many of its tokens it decides, and the temperature they are drawn at."""

    count: int
    temperature: float


@attrs.frozen(kw_only=True)
class Sampling:
    """How a target is generated.

    Grids: `scheme` 'maskgit' (predict all, keep the most confident) or 'roar' (random order), in `steps` forward passes
    whose shares follow `schedule` ('linear' or 'cosine'), or 'mean' (one pass; the value is decoded from the mean code
    under the predicted probabilities, the tokens are the most likely ones). Sequences: 'autoregressive'. `temperature`
    0 takes the most likely token; `anneal` is 'constant', 'linear', 'onex:MINIMUM:POWER' or 'down:MINIMUM'. `top_k` and
    `top_p` 0 mean off, `guidance` 1 means none. What a grid is made from is encoded anew in every `refresh`-th step; in
    between only what was decided is (ReCAP, arXiv 2505.19089). `samples` sequences are drawn and merged where the
    modality can (`merge`). Raises ConfigError for values that cannot be.
    """

    scheme: str = attrs.field(default="roar", converter=_scheme)
    steps: int = attrs.field(default=8, converter=integer, validator=at_least(1))
    schedule: TokenSchedule = attrs.field(default=LinearSchedule(), converter=_schedule)
    temperature: float = attrs.field(default=1.0, converter=real, validator=[at_least(0), at_most(HIGHEST)])
    anneal: Anneal = attrs.field(default=ConstantAnneal(), converter=_anneal)
    top_k: int = attrs.field(default=0, converter=integer, validator=at_least(0))
    top_p: float = attrs.field(default=0.0, converter=real, validator=[at_least(0), at_most(1)])
    guidance: float = attrs.field(default=1.0, converter=real, validator=finite)
    refresh: int = attrs.field(default=1, converter=integer, validator=at_least(1))
    samples: int = attrs.field(default=1, converter=integer, validator=at_least(1))

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
        if isinstance(value, (TokenSchedule, Anneal)):
            own = {name: getattr(value, name) for name in init_fields(type(value))}
            options[option] = {"name": getattr(value, "name", type(value).__name__), **own}
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
    guidance: float
    refresh: int
    samples: int
