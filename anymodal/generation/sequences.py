"""The scheme of sequences: token by token, with cached keys and values (4M, arXiv 2312.06647).

Every sample of a batch gets what it would get alone: lengths differ freely and each has its own random numbers.
Shapes: B texts, G passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from anymodal.crops import Crop
from anymodal.generation.infill import Text, room_beside, without_ends
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import StreamTokens
from anymodal.model.steps import steps_of
from anymodal.nn.copies import PACKED
from anymodal.spaces import TokenSpace


class Autoregressive(GenerationScheme):
    """Each token after all before it; inputs are encoded once for all the texts of a sample."""

    def text(self, run: TargetRun, prompt: np.ndarray, start: np.ndarray | None) -> Text:
        """The text that is written into the holes of a prompt, and begins with `start`."""
        assert isinstance(run.stream.space, TokenSpace)
        return Text(prompt, run.stream.space, room_beside(prompt, run.stream.space), start)

    def length(self, run: TargetRun) -> int:
        """How many tokens are written at most."""
        return run.stream.space.length

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Write the sequences; see `GenerationScheme`."""
        yield from self.run_all([run])

    def run_all(self, runs: Sequence[TargetRun]) -> Iterator[GenerationStep]:
        """Write the sequences of runs side by side, as far as the weights are then read fewer times in all."""
        for together in _narrow(runs):
            yield from self._together(together)

    def _together(self, runs: Sequence[TargetRun]) -> Iterator[GenerationStep]:
        writing = [_Writing(self, run) for run in runs]
        steps = steps_of(runs[0].model.transformer, [run.texts() for run in runs])
        while writing:
            scores = steps.step([each.last for each in writing])
            for each, found in zip(writing, scores, strict=True):
                yield from each.add(found)
            active = [each.active() for each in writing]
            few = 2 * sum(map(len, active)) <= sum(len(each.rows) for each in writing)
            if any(active) and (few or not all(active)):
                steps.keep(active)
                for each, kept in zip(writing, active, strict=True):
                    each.rows = [each.rows[i] for i in kept]
            writing = [each for each, kept in zip(writing, active, strict=True) if kept]


def _narrow(runs: Sequence[TargetRun]) -> list[list[TargetRun]]:
    """Runs in groups of so few rows that a product with them is bound by how fast the weights are read."""
    groups, room = list[list[TargetRun]](), 0
    for run in runs:
        rows = len(run.states) * run.sampling.samples * len(run.passes)
        rows *= 1 if run.shares_views else 1 + len(run.views[0])
        if rows > room:
            groups.append([])
            room = PACKED
        groups[-1].append(run)
        room -= rows
    return groups


class _Writing:
    """The texts of one run while they are written; `rows` are those that the model still decodes."""

    def __init__(self, scheme: Autoregressive, run: TargetRun) -> None:
        self.scheme, self.run, self.times = scheme, run, run.sampling.samples
        name = run.stream.name
        known = [(s.open(run.stream), s.starts.get(name)) for s in run.states for _ in range(self.times)]
        self.texts = [scheme.text(run, prompt, start) for prompt, start in known]
        self.rngs = [branch for rng in run.rngs for branch in rng.branch(self.times)]
        self.rank, self.length, self.rows = 0, scheme.length(run), list(range(len(self.texts)))

    @property
    def last(self) -> list[int]:
        """The id that each row wrote last."""
        return [self.texts[r].last for r in self.rows]

    def active(self) -> list[int]:
        """Which of the rows go on."""
        return [i for i, r in enumerate(self.rows) if self.rank < self.length and not self.texts[r].done]

    def add(self, scores: Tensor) -> Iterator[GenerationStep]:
        """Write the next token of each row, from scores (views * passes, rows, V)."""
        texts, how = self.texts, self.run.sampling
        logits = self.run.believed(scores, [self.rank / self.length] * len(self.rows))
        logits = without_ends(logits, [texts[r] for r in self.rows])
        uniform = [torch.zeros(()) if texts[r].done else self.rngs[r].uniform(1)[0] for r in self.rows]
        samples = sorted({r // self.times for r in self.rows if not texts[r].done})
        ids, _ = self.scheme.pick(logits, torch.stack(uniform).to(logits.device), how.temperature, how)
        for r, token in zip(self.rows, ids.tolist(), strict=True):
            texts[r].add(token)
        self.rank += 1
        if not self.active():
            for number, state in enumerate(self.run.states):
                mine = self._of(number)
                counts = [len(text.written) for text in mine]
                state.put(self.run.stream.name, _written(mine, counts, self.length, self._seen(number)))
        for number in samples:
            yield self._step(number)

    def _of(self, sample: int) -> list[Text]:
        return self.texts[sample * self.times : (sample + 1) * self.times]

    def _seen(self, sample: int) -> list[Crop]:
        """Of each draw how the view lies that it read, where each reads one."""
        crops = [Crop(), *self.run.views[sample]] if self.run.shares_views else []
        return [crop for crop in crops for _ in range(self.times // len(crops))]

    def _step(self, sample: int) -> GenerationStep:
        texts = self._of(sample)
        take = partial(_written, texts, [len(text.written) for text in texts], self.length, self._seen(sample))
        done = self.rank == self.length or all(text.done for text in texts)
        return GenerationStep(
            self.run.stream.name, sample, self.rank, self.length, done, np.array([self.rank - 1]), take
        )


def _written(texts: Sequence[Text], counts: Sequence[int], length: int, seen: Sequence[Crop]) -> StreamTokens:
    """What the first `counts` tokens of the texts of a sample say, each of the view that was `seen`."""
    values = [text.value(length, count) for text, count in zip(texts, counts, strict=True)]
    return StreamTokens.whole(values[0], values if len(values) > 1 else (), seen=seen)
