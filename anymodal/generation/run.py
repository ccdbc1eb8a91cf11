"""One target while it is generated: what a scheme gets, what it is, and what it tells after every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.crops import Crop
from anymodal.generation.guidance import GuidedModel, Pass, guided
from anymodal.generation.logits import draw
from anymodal.generation.plan import Target
from anymodal.generation.rng import SampleRng
from anymodal.generation.state import SampleState, StreamTokens
from anymodal.generation.values import Made, completed, values_of
from anymodal.model.steps import Texts
from anymodal.partial import Partial
from anymodal.plugins.guard import blame
from anymodal.sampling import Sampling
from anymodal.spaces import Stream
from anymodal.tokens import ModalitySet

QUICK = 4  # steps of a decoder that denoises, for a preview


@attrs.frozen(eq=False)
class GenerationStep:
    """How far one sample is after a step.

    target: the name of the target, or of its stream if that is a finer one.
    sample: the number of the sample in its batch.
    step: how many steps of the target are done, from 1.
    total: how many there are at most; a sequence ends where it ends, and a grid where all is decided.
    done: whether this was the last step of the target.
    decided: the positions (k,) that this step decided; in a sequence the ranks of the tokens in what was written.
    """

    target: str
    sample: int
    step: int
    total: int
    done: bool
    decided: np.ndarray
    _take: Callable[[], StreamTokens] = attrs.field(repr=False)
    _modalities: ModalitySet | None = attrs.field(default=None, repr=False)
    _given: Partial | None = attrs.field(default=None, repr=False)

    def of(self, sample: int, modalities: ModalitySet, given: Partial | None = None) -> GenerationStep:
        """The step by another number of its sample, with modalities that decode its value and what was given of it."""
        done = (self.target, sample, self.step, self.total, self.done, self.decided)
        return GenerationStep(*done, self._take, modalities, given)

    @cached_property
    def snapshot(self) -> StreamTokens:
        """The tokens of the target at this step."""
        return self._take()

    @property
    def tokens(self) -> np.ndarray:
        """The ids (n,) so far: those of a grid at `positions`, or what is written of a sequence, and the end mark."""
        return self.snapshot.values

    @property
    def positions(self) -> np.ndarray:
        """The positions (n,) of `tokens`."""
        return self.snapshot.positions

    @cached_property
    def made(self) -> Made:
        """`partial`, and how sure it is."""
        assert self._modalities is not None, "a sampler knows no modalities"
        tokens = completed(self._modalities, self.target, self.snapshot)
        return values_of(self._modalities, self.target, [tokens], [self._given])[0]

    @property
    def partial(self) -> Any:
        """The natural value so far, decoded when it is first asked for; after the last step it is the final one.

        Open positions of a grid look like the nearest decided one. Raises PluginError if the modality fails.
        """
        return self.made.value

    @cached_property
    def preview(self) -> Any:
        """`partial`, sooner until the last step: a decoder that denoises takes few steps.

        Raises PluginError if the modality fails.
        """
        assert self._modalities is not None, "a sampler knows no modalities"
        modality = self._modalities.owner(self.target)
        if self.done or getattr(modality, "denoising_steps", 0) <= QUICK:
            return self.partial
        quick: Any = copy(modality)
        quick.denoising_steps = QUICK
        tokens = completed(self._modalities, self.target, self.snapshot)
        with blame(modality, "detokenize", tokens.values):
            value = quick.detokenize_stream(self.target, [tokens.values])[0]
            return value if self._given is None else self._given.finish(value, tokens.values)


@attrs.frozen(eq=False)
class TargetRun:
    """One target of a plan, and the samples of a batch for which it is generated.

    model: gives guided logits.
    states: B samples, into which the target is written.
    target: what is generated, and how.
    stream: that of the target.
    passes: of guidance.
    rngs: the choices of each sample.
    """

    model: GuidedModel
    states: Sequence[SampleState]
    target: Target
    stream: Stream
    passes: Sequence[Pass]
    rngs: Sequence[SampleRng]

    @property
    def sampling(self) -> Sampling:
        return self.target.sampling

    @cached_property
    def views(self) -> list[dict[Crop, SampleState]]:
        """The other views of each sample that are read, by how they lie in the picture; none where there are none."""
        count = self.sampling.views
        seen = [state.views.of(self.stream, count) if state.views and count > 1 else {} for state in self.states]
        return seen if all(seen) else [{} for _ in self.states]

    @property
    def shares_views(self) -> bool:
        """Whether each draw of a sequence reads one view, for it says where things lie; else each reads all of them."""
        return bool(self.views[0]) and any(s.views is not None and s.views.placed(self.stream) for s in self.states)

    def texts(self) -> Texts:
        """What the sequences of the target are written from."""
        name, times = self.stream.name, self.sampling.samples
        views = [[self._asked(view) for view in each.values()] for each in self.views]
        if self.shares_views:
            states = [seen for state, each in zip(self.states, views, strict=True) for seen in (state, *each)]
            contexts = self.model.encode(states, self.passes, self.stream)
            return Texts(contexts, name, times * len(self.states) // len(states))
        seen = [self.states, *zip(*views, strict=True)]
        return Texts([c for each in seen for c in self.model.encode(each, self.passes, self.stream)], name, times)

    def _asked(self, view: SampleState) -> SampleState:
        """A view of which a sequence is asked for."""
        asked = view.copy()
        asked.open(self.stream)
        return asked

    def believed(self, scores: Tensor, shares: Sequence[float]) -> Tensor:
        """Logits (rows, V) of scores (views * passes, rows, V), of rows of which these shares are written.

        They are guided, and of several views the mean of the log probabilities.
        """
        each = [guided(part, self.passes, shares) for part in scores.split(len(self.passes))]
        return each[0] if len(each) == 1 else torch.stack([own.float().log_softmax(-1) for own in each]).mean(0)


class GenerationScheme(ABC):
    """A way of decoding; `anymodal.sampling.SCHEMES` has them by name.

    One of grids is easier to add as a `anymodal.sampling.GridScheme`; this is for what decodes in another way.
    """

    @abstractmethod
    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Decode the target into `run.states`.

        Yields after every step, once for each sample that took part in it, when all of them are written to.
        """

    def run_all(self, runs: Sequence[TargetRun]) -> Iterator[GenerationStep]:
        """Decode targets that do not see each other; a scheme that can do so in one batch overrides this."""
        for run in runs:
            yield from self.run(run)

    def pick(
        self, logits: Tensor, uniform: Tensor, temperature: float | Tensor, how: Sampling
    ) -> tuple[Tensor, Tensor]:
        """Ids (n,) from logits (n, V), and the probability of each (n,); see `anymodal.generation.logits.draw`."""
        return draw(logits, uniform, temperature, how.top_k, how.top_p, how.min_p)
