"""Schemes of grids: several positions in a pass (4M, arXiv 2312.06647).

Every sample of a batch gets what it would get alone. Shapes: B samples, M positions, V ids.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.generation.logits import probabilities
from anymodal.generation.rng import SampleRng
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.spaces import TokenSpace


class ParallelScheme(GenerationScheme):
    """Steps by the token schedule; a subclass says which positions are requested, and which of them are kept."""

    def order(self, unknown: np.ndarray, rng: SampleRng) -> np.ndarray:
        """The positions (n,) that are to be decided, in the order in which `requested` gets them."""
        return unknown

    @abstractmethod
    def requested(self, left: np.ndarray, count: int) -> np.ndarray:
        """Which of the positions that are `left` (n,) a step predicts that decides `count` of them; ascending."""

    @abstractmethod
    def kept(self, ids: np.ndarray, confidence: np.ndarray, count: int, rng: SampleRng) -> np.ndarray:
        """Which `count` of the predicted ids (n,) are kept, as indices; the others are predicted again later."""

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Decode the grid; see `GenerationScheme`."""
        name, states = run.stream.name, run.states
        left = [self.order(state.unknown(run.stream), rng) for state, rng in zip(states, run.rngs, strict=True)]
        plans = [run.sampling.plan(len(positions)) for positions in left]
        for k in range(max(map(len, plans), default=0)):
            active = [b for b, plan in enumerate(plans) if k < len(plan)]
            requested = [self.requested(left[b], plans[b][k].count) for b in active]
            logits = run.model.grid_logits([states[b] for b in active], run.stream, requested, run.passes)
            temperatures = torch.tensor([plans[b][k].temperature for b in active])
            ids, confidence = self._draw(logits, requested, temperatures, run, [run.rngs[b] for b in active])
            decided = []
            for row, b in enumerate(active):
                positions = requested[row]
                mine, sure = ids[row, : len(positions)], confidence[row, : len(positions)]
                kept = self.kept(mine, sure, plans[b][k].count, run.rngs[b])
                states[b].extend(name, mine[kept], positions[kept])
                left[b] = left[b][~np.isin(left[b], positions[kept])]
                decided.append(positions[kept])
            for b, positions in zip(active, decided, strict=True):
                yield _step(run, b, k + 1, len(plans[b]), positions)

    def _draw(
        self,
        logits: Tensor,
        requested: Sequence[np.ndarray],
        temperatures: Tensor,
        run: TargetRun,
        rngs: Sequence[SampleRng],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids and their probabilities (B, M) for logits (B, M, V), drawn in one go."""
        batch, most, size = logits.shape
        uniform = torch.zeros(batch, most)
        for row, positions, rng in zip(uniform, requested, rngs, strict=True):
            row[: len(positions)] = rng.uniform(len(positions))
        flat = uniform.view(-1).to(logits.device)
        ids, confidence = self.pick(logits.reshape(-1, size), flat, temperatures.repeat_interleave(most), run.sampling)
        return ids.view(batch, most).cpu().numpy(), confidence.view(batch, most).cpu().numpy()


class MostConfident(ParallelScheme):
    """Predict all positions that are left, and keep the most confident ones (MaskGIT, arXiv 2202.04200)."""

    def requested(self, left: np.ndarray, count: int) -> np.ndarray:
        return left

    def kept(self, ids: np.ndarray, confidence: np.ndarray, count: int, rng: SampleRng) -> np.ndarray:
        return rng.choose(ids, confidence, count)


class RandomOrder(ParallelScheme):
    """Predict as many positions as are kept, in random order."""

    def order(self, unknown: np.ndarray, rng: SampleRng) -> np.ndarray:
        return rng.order(unknown)

    def requested(self, left: np.ndarray, count: int) -> np.ndarray:
        return np.sort(left[:count])

    def kept(self, ids: np.ndarray, confidence: np.ndarray, count: int, rng: SampleRng) -> np.ndarray:
        return np.arange(len(ids))


class MeanCode(GenerationScheme):
    """One pass: the most likely ids, and the probabilities of all ids, under which the value is a mean."""

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Decode the grid; see `GenerationScheme`."""
        name, space, how = run.stream.name, run.stream.space, run.sampling
        assert isinstance(space, TokenSpace)
        unknown = [state.unknown(run.stream) for state in run.states]
        if not max(map(len, unknown)):
            return
        logits = run.model.grid_logits(run.states, run.stream, unknown, run.passes)
        for row, (state, positions) in enumerate(zip(run.states, unknown, strict=True)):
            likely = probabilities(logits[row, : len(positions)], how.temperature, how.top_k, how.top_p)
            state.extend(name, likely.argmax(-1).cpu().numpy(), positions)
            every = np.eye(space.size, dtype=np.float32)[state.streams[name].values]
            every[positions] = likely.cpu().numpy()
            state.put(name, attrs.evolve(state.streams[name], probabilities=every))
        for b, positions in enumerate(unknown):
            yield _step(run, b, 1, 1, positions)


def _step(run: TargetRun, sample: int, step: int, total: int, decided: np.ndarray) -> GenerationStep:
    tokens = run.states[sample].streams[run.stream.name]
    return GenerationStep(run.stream.name, sample, step, total, step == total, decided, lambda: tokens)
