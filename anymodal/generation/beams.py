"""Beam search over sequences: the likeliest of several that are written side by side.

Every sample of a batch gets what it would get alone. Shapes: W beams a sample, V ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import torch

from anymodal.errors import GenerationError
from anymodal.generation.infill import Text, room_beside, without_ends
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import StreamTokens
from anymodal.model.steps import Steps, steps_of
from anymodal.sampling import Beam
from anymodal.spaces import TokenSpace

TOGETHER = 256  # rows of beams, views and passes that are written side by side; each has what is read of a sample


@attrs.frozen(eq=False)
class _Candidate:
    """One sequence of a sample: its text, its log probability, and the row in which it was written so far."""

    text: Text
    likelihood: float
    row: int

    def rank(self, penalty: float) -> float:
        """By what sequences are compared: the larger the better."""
        return self.likelihood / max(len(self.text.written) - 1, 1) ** penalty


class BeamSearch(GenerationScheme):
    """Keeps the best sequences of each sample; those that are done stay as long as none is better."""

    def run(self, run: TargetRun) -> Iterator[GenerationStep]:
        """Write the sequences, of as many samples at once as memory is set aside for; see `GenerationScheme`."""
        width = _width(run) * len(run.passes) * (1 + len(run.views[0]))
        count = max(TOGETHER // width, 1)
        for start in range(0, len(run.states), count):
            part = slice(start, start + count)
            for step in self._search(attrs.evolve(run, states=run.states[part], rngs=run.rngs[part])):
                yield attrs.evolve(step, sample=start + step.sample)

    def _search(self, run: TargetRun) -> Iterator[GenerationStep]:
        scheme, space = run.sampling.scheme, run.stream.space
        assert isinstance(scheme, Beam) and isinstance(space, TokenSpace)
        width = _width(run)
        known = [(state.open(run.stream), state.starts.get(run.stream.name)) for state in run.states]
        steps = steps_of(run.model.transformer, [run.texts()._replace(times=width)])
        beams = [
            [_Candidate(Text(prompt, space, room_beside(prompt, space), start), 0.0, b * width)]
            for b, (prompt, start) in enumerate(known)
        ]
        rows = len(beams) * width
        for k in range(space.length):
            texts: list[Text | None] = [None] * rows
            for candidate in (each for beam in beams for each in beam if not each.text.done):
                texts[candidate.row] = candidate.text
            last = [space.sentinel(1) if text is None else text.last for text in texts]
            scores = run.believed(steps.step([last])[0], [k / space.length] * rows).float()
            if not torch.isfinite(scores).all():
                raise GenerationError("the model's scores are not finite: its weights are damaged")
            best = without_ends(scores, texts).log_softmax(-1).topk(min(width, scores.shape[-1]), -1)
            likely, ids = best.values.cpu().numpy(), best.indices.cpu().numpy()
            writing = [b for b, beam in enumerate(beams) if not all(each.text.done for each in beam)]
            for b in writing:
                beams[b] = _best(beams[b], likely, ids, width, scheme.penalty)
            for b in writing:
                yield _step(run, b, beams[b], k, space.length)
            beams, rows = _kept(steps, beams)
            if not rows:
                break
        for state, beam in zip(run.states, beams, strict=True):
            state.put(run.stream.name, _written(beam[: run.sampling.samples], space.length))


def _width(run: TargetRun) -> int:
    """How many sequences of a sample are kept."""
    assert isinstance(run.sampling.scheme, Beam)
    return max(run.sampling.scheme.width, run.sampling.samples)


def _best(
    beam: Sequence[_Candidate], likely: np.ndarray, ids: np.ndarray, width: int, penalty: float
) -> list[_Candidate]:
    """The `width` best of the sequences that are done and of all that go on with one of the likeliest ids (rows, W).

    Those that go on are all of one length, so the likeliest of them are the best, and only these are written.
    """
    found, going = [each for each in beam if each.text.done], [each for each in beam if not each.text.done]
    given = going[0].text.given if going else None
    if given is not None:  # by the start, which is the same of all
        return [*found, *(attrs.evolve(each, text=each.text.continued(given)) for each in going)]
    rows = [each.row for each in going]
    totals = np.array([each.likelihood for each in going])[:, None] + likely[rows].astype(np.float64)
    for place in np.argsort(-totals, axis=None, kind="stable")[:width]:
        number, rank = divmod(int(place), totals.shape[1])
        each, total = going[number], float(totals[number, rank])
        if math.isfinite(total):
            found.append(_Candidate(each.text.continued(int(ids[each.row][rank])), total, each.row))
    return sorted(found, key=lambda each: -each.rank(penalty))[:width]


def _kept(steps: Steps, beams: Sequence[Sequence[_Candidate]]) -> tuple[list[list[_Candidate]], int]:
    """Go on with the rows of sequences that are not done: the sequences by their new rows, and how many there are."""
    rows: list[int] = []
    renumbered = []
    for beam in beams:
        mine = []
        for each in beam:
            if not each.text.done:
                rows.append(each.row)
                each = attrs.evolve(each, row=len(rows) - 1)
            mine.append(each)
        renumbered.append(mine)
    if rows:
        steps.keep([rows])
    return renumbered, len(rows)


def _step(run: TargetRun, sample: int, beam: Sequence[_Candidate], rank: int, length: int) -> GenerationStep:
    written = _written(beam[: run.sampling.samples], length)
    done = rank + 1 == length or all(each.text.done for each in beam)
    return GenerationStep(run.stream.name, sample, rank + 1, length, done, np.array([rank]), lambda: written)


def _written(beam: Sequence[_Candidate], length: int) -> StreamTokens:
    """What the sequences of a sample say, the best first."""
    values = [each.text.value(length) for each in beam]
    return StreamTokens.whole(values[0], values if len(values) > 1 else ())
