"""Grids, several positions in a pass (4M, arXiv 2312.06647), as a `GridScheme` wants them.

Every sample of a batch gets what it would get alone. Shapes: B samples, M positions, V ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.errors import ConfigError
from anymodal.generation.choosing import likelihoods
from anymodal.generation.rng import SampleRng
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import StreamTokens
from anymodal.sampling import Change, GridScheme, GridState, Predicted
from anymodal.spaces import Stream


class GridDecoder(GenerationScheme):
    """Runs a `GridScheme`: its passes, its draws, and what it decides, for all samples of a batch together."""

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Decode the grid; see `GenerationScheme`. Of several draws the steps of the first are told."""
        times = run.sampling.samples
        if times == 1:
            yield from self._decode(run, self._started(run))
            return
        states = [state.copy() for state in run.states for _ in range(times)]
        wide = attrs.evolve(run, states=states, rngs=[each for rng in run.rngs for each in rng.branch(times)])
        last: dict[int, GenerationStep] = {}
        grids = self._started(wide)
        for step in self._decode(wide, grids):
            number, draw = divmod(step.sample, times)
            if not draw and not step.done:
                yield attrs.evolve(step, sample=number)
            elif not draw:
                last[number] = attrs.evolve(step, sample=number)
        name, chosen = run.stream.name, bool(run.sampling.choose)
        drawn = [each.streams[name].values for each in states]
        ranks = self._likelihoods(run, drawn) if chosen else [float(grid.likelihood.sum()) for grid in grids]
        for number, state in enumerate(run.states):
            mine = range(number * times, (number + 1) * times)
            ordered = [drawn[k] for k in sorted(mine, key=lambda k: -ranks[k])]
            state.put(name, StreamTokens.whole(ordered[0], ordered, chosen))
        for number, step in last.items():
            yield attrs.evolve(step, take=partial(run.states[number].streams.__getitem__, run.stream.name))

    def _likelihoods(self, run: TargetRun, draws: Sequence[np.ndarray]) -> Sequence[float]:
        """How likely each draw makes the input that is to choose among them."""
        given, times = run.model.layout[run.sampling.choose], run.sampling.samples
        known = [state.streams[given.name].values for state in run.states for _ in range(times)]
        return likelihoods(run.model.transformer, run.stream, draws, given, known).tolist()

    def _started(self, run: TargetRun) -> list[GridState]:
        scheme, shape = run.sampling.scheme, grid_shape(run.stream)
        assert isinstance(scheme, GridScheme)
        return [
            scheme.start(shape, state.unknown(run.stream), run.sampling, rng)
            for state, rng in zip(run.states, run.rngs, strict=True)
        ]

    def _decode(self, run: TargetRun, grids: Sequence[GridState]) -> Iterator[GenerationStep]:
        scheme = run.sampling.scheme
        assert isinstance(scheme, GridScheme)
        while active := [b for b, grid in enumerate(grids) if len(grid.open)]:
            told = self._pass(run, scheme, [grids[b] for b in active], active)
            for b, decided in zip(active, told, strict=True):
                yield _step(run, b, grids[b], decided)

    def _pass(
        self, run: TargetRun, scheme: GridScheme, grids: Sequence[GridState], active: Sequence[int]
    ) -> list[np.ndarray]:
        """One pass for the samples that are `active`: the positions that each of them decided."""
        states, rngs = [run.states[b] for b in active], [run.rngs[b] for b in active]
        requested = [_checked_request(scheme, grid, rng) for grid, rng in zip(grids, rngs, strict=True)]
        shares = [grid.share for grid in grids]
        logits = run.model.grid_logits(states, run.stream, requested, run.passes, shares)
        temperatures = torch.tensor([grid.step.temperature for grid in grids])
        predicted = self._predicted(logits, requested, temperatures, run, rngs)
        told = []
        for grid, state, mine, rng in zip(grids, states, predicted, rngs, strict=True):
            change = scheme.step(grid, mine, rng)
            _check_change(scheme, grid, mine, change)
            positions = mine.positions[change.kept]
            state.extend(run.stream.name, mine.ids[change.kept], positions)
            if len(change.reopened):
                state.drop(run.stream.name, change.reopened)
            if mine.likelihood is not None:
                grid.likelihood[positions] = mine.likelihood[change.kept]
            grid.apply(change, mine.positions, scheme.score(mine))
            told.append(positions)
        return told

    def _predicted(
        self,
        logits: Tensor,
        requested: Sequence[np.ndarray],
        temperatures: Tensor,
        run: TargetRun,
        rngs: Sequence[SampleRng],
    ) -> list[Predicted]:
        """What logits (B, M, V) say of each sample, drawn in one go."""
        batch, most, size = logits.shape
        uniform = torch.zeros(batch, most)
        for row, positions, rng in zip(uniform, requested, rngs, strict=True):
            row[: len(positions)] = rng.uniform(len(positions))
        flat = uniform.view(-1).to(logits.device)
        rows = logits.reshape(-1, size)
        ids, confidence = self.pick(rows, flat, temperatures.repeat_interleave(most), run.sampling)
        said = {"ids": ids, "confidence": confidence}
        scheme = run.sampling.scheme
        if isinstance(scheme, GridScheme) and scheme.measured:
            said["entropy"], said["margin"] = entropy_and_margin(rows)
        if run.sampling.samples > 1 and not run.sampling.choose:
            said["likelihood"] = rows.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        arrays = {name: each.view(batch, most).cpu().numpy() for name, each in said.items()}
        return [
            Predicted(p, **{name: each[row, : len(p)] for name, each in arrays.items()})
            for row, p in enumerate(requested)
        ]


def entropy_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of logits (n, V): the entropy (n,) in nats, and by how much the likeliest id is more probable than the next."""
    likely = logits.float().softmax(-1)
    two = likely.topk(min(2, likely.shape[-1]), -1).values
    return torch.special.entr(likely).sum(-1), two[:, 0] - two[:, -1] * (two.shape[-1] > 1)


def grid_shape(stream: Stream) -> tuple[int, int]:
    """Rows and columns of a grid; one without a shape is a column."""
    shape = stream.space.shape
    return (shape[0], shape[1]) if shape else (stream.space.length, 1)


def _checked_request(scheme: GridScheme, grid: GridState, rng: SampleRng) -> np.ndarray:
    """The positions that a scheme wants predicted. Raises ConfigError where they are not open, or no step is left."""
    if grid.number == len(grid.plan):
        raise ConfigError(f"the sampling scheme {scheme} leaves {len(grid.open)} positions open after its last step")
    requested = scheme.request(grid, rng)
    if not np.isin(requested, grid.open).all() or len(np.unique(requested)) < len(requested):
        raise ConfigError(f"the sampling scheme {scheme} requests positions that are not open, or one twice")
    return requested


def _check_change(scheme: GridScheme, grid: GridState, predicted: Predicted, change: Change) -> None:
    """Raise ConfigError where a scheme keeps what was not predicted, or opens what it did not decide."""
    kept = np.unique(change.kept)
    if len(kept) < len(change.kept) or (len(kept) and not 0 <= kept[0] <= kept[-1] < len(predicted.ids)):
        raise ConfigError(f"the sampling scheme {scheme} keeps what was not predicted, or one id twice")
    known = np.append(grid.decided, predicted.positions[change.kept])
    if not np.isin(change.reopened, known).all() or len(np.unique(change.reopened)) < len(change.reopened):
        raise ConfigError(f"the sampling scheme {scheme} opens positions again that it did not decide")


def _step(run: TargetRun, sample: int, grid: GridState, decided: np.ndarray) -> GenerationStep:
    tokens, done = run.states[sample].streams[run.stream.name], not len(grid.open)
    return GenerationStep(run.stream.name, sample, grid.number, len(grid.plan), done, decided, lambda: tokens)
