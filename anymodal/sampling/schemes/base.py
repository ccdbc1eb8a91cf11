"""What a scheme of grids is: which open positions a step predicts, and which of them it keeps.

A scheme is a frozen attrs class whose fields are its own options, in a file of its own. It sees no model, only what the
model said of one sample: arrays over positions. Everything is done for each sample alone, so a batch changes nothing.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.sampling.spelling import spelled

if TYPE_CHECKING:
    import numpy as np

    from anymodal.sampling.options import Sampling
else:
    from anymodal.lazy import np


@attrs.frozen
class Scheme:
    """A way of decoding grids, or `sequences`, and the class that does it.

    `implementation` is a subclass of `anymodal.generation.GenerationScheme`, or where it is ("module:Class"), so that
    describing how something is sampled imports no torch. Add your own under ``@SCHEMES.add``; one of grids is easier to
    write as a `GridScheme`.
    """

    name: str = attrs.field(init=False)
    sequences: ClassVar[bool] = False
    draws: ClassVar[bool] = True
    implementation: ClassVar[str | type]

    @classmethod
    def load(cls) -> Any:
        """The class that decodes."""
        if isinstance(cls.implementation, type):
            return cls.implementation
        module, _, name = cls.implementation.partition(":")
        return getattr(importlib.import_module(module), name)

    def __str__(self) -> str:
        return spelled(self)


SCHEMES = SettingsTable(Scheme, "sampling scheme", default="roar")


@attrs.frozen
class Step:
    """One forward pass of a grid.

    count: how many of its tokens it decides.
    temperature: they are drawn at.
    reopen: how many of the tokens decided until then are opened again after it.
    """

    count: int
    temperature: float
    reopen: int = 0


class Choices(Protocol):
    """The random choices of one sample; see `anymodal.generation.SampleRng`."""

    def order(self, positions: np.ndarray) -> np.ndarray:
        """The positions (n,) of a grid in a random order."""
        ...

    def uniform(self, count: int) -> Any:
        """Numbers (count,) in [0, 1)."""
        ...

    def choose(self, ids: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
        """Which `count` of the predicted ids (n,) are kept: the most confident, the first of equals."""
        ...


@attrs.frozen(eq=False)
class Predicted:
    """What the model said of the requested positions, as arrays (n,).

    positions: as they were requested.
    ids: drawn for them.
    confidence: the probability of each of these ids, at the temperature of the step.
    entropy: of the distribution of the model over all ids, in nats; for schemes with `measured`.
    margin: by how much its most likely id is more probable than the next; for schemes with `measured`.
    likelihood: the log probability of each id under the model, where several draws are to be ranked by it.
    """

    positions: np.ndarray
    ids: np.ndarray
    confidence: np.ndarray
    entropy: np.ndarray | None = None
    margin: np.ndarray | None = None
    likelihood: np.ndarray | None = None


@attrs.frozen(eq=False)
class Change:
    """What a step does: `kept` are indices of the predicted ids that are decided, `reopened` decided positions that are
    open again."""

    kept: np.ndarray
    reopened: np.ndarray = attrs.field(factory=lambda: np.zeros(0, np.int64))


@attrs.define(eq=False)
class GridState:
    """One grid of a sample while it is decoded.

    shape: rows and columns.
    open: the positions (n,) that are still to be decided, in the order of the scheme.
    plan: the steps.
    number: how many of them are done.
    total: how many positions there are to decide; others were given and stay as they are.
    decided: those of them (m,) that are decided now, the latest last.
    scores: (m,) of each what `GridScheme.score` said of it.
    likelihood: (rows * columns,) the log probability of the ids that were decided, where draws are ranked by it.
    """

    shape: tuple[int, int]
    open: np.ndarray
    plan: list[Step]
    number: int = 0
    total: int = attrs.field(default=attrs.Factory(lambda self: len(self.open), takes_self=True))
    decided: np.ndarray = attrs.field(factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray = attrs.field(factory=lambda: np.zeros(0, np.float64))
    likelihood: np.ndarray = attrs.field(
        default=attrs.Factory(lambda self: np.zeros(self.shape[0] * self.shape[1]), takes_self=True)
    )

    @property
    def step(self) -> Step:
        """The step that is next, or under way."""
        return self.plan[self.number]

    @property
    def share(self) -> float:
        """The share of the positions that is decided."""
        return len(self.decided) / self.total if self.total else 1.0

    @property
    def steps_left(self) -> int:
        """How many steps there are from this one on."""
        return len(self.plan) - self.number

    def apply(self, change: Change, positions: np.ndarray, scores: np.ndarray) -> None:
        """Do what a step decided, for predictions at `positions` (n,) with these scores (n,)."""
        decided = positions[change.kept]
        known, known_scores = np.append(self.decided, decided), np.append(self.scores, scores[change.kept])
        stays = ~np.isin(known, change.reopened)
        self.decided, self.scores = known[stays], known_scores[stays]
        self.open = np.concatenate([self.open[~np.isin(self.open, decided)], change.reopened])
        self.number += 1


@attrs.frozen
class GridScheme(Scheme):
    """A scheme of grids in steps. Its forward passes, draws and batches are done for it.

    Add your own: a frozen attrs class with its options as fields, under ``@SCHEMES.add``; `step` is what it must have.
    """

    implementation: ClassVar[str | type] = "anymodal.generation.grids:GridDecoder"
    measured: ClassVar[bool] = False

    def start(self, shape: tuple[int, int], unknown: np.ndarray, how: Sampling, choices: Choices) -> GridState:
        """The state before the first step, for the positions (n,) that are unknown, ascending."""
        return GridState(shape, self.order(shape, unknown, choices), self.plan(len(unknown), how, choices))

    def order(self, shape: tuple[int, int], unknown: np.ndarray, choices: Choices) -> np.ndarray:
        """The unknown positions in the order in which they are to be decided, where the scheme has one."""
        return unknown

    def plan(self, total: int, how: Sampling, choices: Choices) -> list[Step]:
        """The steps that decide `total` positions, at most `how.steps`; when the last one is done none may be open."""
        return how.plan(total)

    def request(self, state: GridState, choices: Choices) -> np.ndarray:
        """Which open positions are predicted by the next step, ascending: all, unless a scheme needs fewer."""
        return np.sort(state.open)

    def score(self, predicted: Predicted) -> np.ndarray:
        """What is remembered of each predicted id (n,) that is kept, in `GridState.scores`."""
        return predicted.confidence

    @abstractmethod
    def step(self, state: GridState, predicted: Predicted, choices: Choices) -> Change:
        """What is done with the predictions of a step."""


@attrs.frozen
class Ordered(GridScheme):
    """Positions in an order that is known before: only those that a step decides are predicted, and all are kept."""

    def request(self, state: GridState, choices: Choices) -> np.ndarray:
        return np.sort(state.open[: state.step.count])

    def step(self, state: GridState, predicted: Predicted, choices: Choices) -> Change:
        return Change(np.arange(len(predicted.ids)))
