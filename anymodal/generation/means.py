"""The mean of what the model believes of a grid, in one pass, or in one for each view of what is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from anymodal.crops import Crop
from anymodal.generation.logits import probabilities
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import StreamTokens
from anymodal.spaces import TokenSpace


class MeanCode(GenerationScheme):
    """One pass: the most likely ids, and the probabilities of all ids, under which the value is a mean.

    Ids are those of the picture as it is given; of its other views only the probabilities are kept.
    """

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Decode the grid; see `GenerationScheme`."""
        name, space, how = run.stream.name, run.stream.space, run.sampling
        assert isinstance(space, TokenSpace)
        unknown = [state.unknown(run.stream) for state in run.states]
        if not max(map(len, unknown)):
            return
        views = self._views(run, unknown)
        logits = run.model.grid_logits(run.states, run.stream, unknown, run.passes)
        for row, (state, positions) in enumerate(zip(run.states, unknown, strict=True)):
            likely = self._likely(run, logits[row, : len(positions)])
            state.extend(name, likely.argmax(-1).cpu().numpy(), positions)
            known = state.streams[name].values
            every = np.zeros((len(known), space.size), np.float32)
            every[np.arange(len(known)), known] = 1  # of what was given
            every[positions] = likely.cpu().numpy()
            mine = state.streams[name]
            state.put(name, StreamTokens(mine.values, mine.positions, every, (), how.temperature, views=views[row]))
        for b, positions in enumerate(unknown):
            yield _step(run, b, positions, run.states[b].streams[name])

    def _views(self, run: TargetRun, unknown: Sequence[np.ndarray]) -> list[list[tuple[Crop, np.ndarray]]]:
        """Of each sample how each other view of it lies, and the probabilities (length, size) of what that shows."""
        found: list[list[tuple[Crop, np.ndarray]]] = [[] for _ in run.states]
        for crop in run.views[0]:
            logits = run.model.grid_logits([views[crop] for views in run.views], run.stream, unknown, run.passes)
            for mine, each in zip(found, logits, strict=True):
                mine.append((crop, self._likely(run, each).cpu().numpy()))
        return found

    def _likely(self, run: TargetRun, logits: Tensor) -> Tensor:
        """The probabilities (n, size) of logits."""
        how = run.sampling
        return probabilities(logits, how.temperature, how.top_k, how.top_p, how.min_p)


def _step(run: TargetRun, sample: int, decided: np.ndarray, tokens: StreamTokens) -> GenerationStep:
    return GenerationStep(run.stream.name, sample, 1, 1, True, decided, lambda: tokens)
