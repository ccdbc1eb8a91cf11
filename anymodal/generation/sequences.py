"""The scheme of sequences: token by token, with cached keys and values (4M, arXiv 2312.06647).

Every sample of a batch gets what it would get alone: lengths differ freely and each has its own random numbers.
Shapes: B texts, G passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from anymodal.generation.guidance import guided
from anymodal.generation.infill import Text
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import StreamTokens
from anymodal.model.steps import Steps
from anymodal.spaces import TokenSpace


class Autoregressive(GenerationScheme):
    """Each token after all before it; inputs are encoded once for all the texts of a sample."""

    def text(self, run: TargetRun, prompt: np.ndarray) -> Text:
        """The text that is written into the holes of a prompt."""
        assert isinstance(run.stream.space, TokenSpace)
        return Text(prompt, run.stream.space)

    def length(self, run: TargetRun) -> int:
        """How many tokens are written at most."""
        return run.stream.space.length

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Write the sequences; see `GenerationScheme`."""
        times, length, passes = run.sampling.samples, self.length(run), run.passes
        prompts = [state.open(run.stream) for state in run.states for _ in range(times)]
        texts = [self.text(run, prompt) for prompt in prompts]
        rngs = [branch for rng in run.rngs for branch in rng.branch(times)]
        steps = Steps(run.model.transformer, run.model.encode(run.states, passes), run.stream.name, times)
        rows = list(range(len(texts)))
        for k in range(length):
            logits = guided(steps.step([texts[r].last for r in rows]), passes)
            uniform = torch.stack([torch.zeros(()) if texts[r].done else rngs[r].uniform(1)[0] for r in rows])
            writing = sorted({r // times for r in rows if not texts[r].done})
            ids, _ = self.pick(logits, uniform.to(logits.device), run.sampling.temperature, run.sampling)
            for r, token in zip(rows, ids.tolist(), strict=True):
                texts[r].add(token)
            for number in writing:
                yield _step(run, number, texts[number * times : (number + 1) * times], k, length)
            active = [i for i, r in enumerate(rows) if not texts[r].done]
            if not active:
                break
            if 2 * len(active) <= len(rows):
                steps.keep(active)
                rows = [rows[i] for i in active]
        for number, state in enumerate(run.states):
            mine = texts[number * times : (number + 1) * times]
            state.put(run.stream.name, _written(mine, [len(text.written) for text in mine], length))


def _step(run: TargetRun, sample: int, texts: Sequence[Text], rank: int, length: int) -> GenerationStep:
    take = partial(_written, texts, [len(text.written) for text in texts], length)
    done = rank + 1 == length or all(text.done for text in texts)
    return GenerationStep(run.stream.name, sample, rank + 1, length, done, np.array([rank]), take)


def _written(texts: Sequence[Text], counts: Sequence[int], length: int) -> StreamTokens:
    """What the first `counts` tokens of the texts of a sample say."""
    values = [text.value(length, count) for text, count in zip(texts, counts, strict=True)]
    return StreamTokens.whole(values[0], values if len(values) > 1 else ())
