"""The mean of what the model believes of a grid, in one pass."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from anymodal.generation.logits import probabilities
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import StreamTokens
from anymodal.spaces import TokenSpace


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
            likely = probabilities(logits[row, : len(positions)], how.temperature, how.top_k, how.top_p, how.min_p)
            state.extend(name, likely.argmax(-1).cpu().numpy(), positions)
            known = state.streams[name].values
            every = np.zeros((len(known), space.size), np.float32)
            every[np.arange(len(known)), known] = 1  # of what was given
            every[positions] = likely.cpu().numpy()
            state.put(name, attrs.evolve(state.streams[name], probabilities=every, temperature=how.temperature))
        for b, positions in enumerate(unknown):
            yield _step(run, b, positions, run.states[b].streams[name])


def _step(run: TargetRun, sample: int, decided: np.ndarray, tokens: StreamTokens) -> GenerationStep:
    return GenerationStep(run.stream.name, sample, 1, 1, True, decided, lambda: tokens)
