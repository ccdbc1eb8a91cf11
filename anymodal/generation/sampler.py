"""The sampler: fills grids in parallel and writes sequences token by token (4M, arXiv 2312.06647).

Every sample of a batch gets what it would get alone: lengths differ freely and each has its own random numbers.
Guidance runs as more rows of the same batch. Shapes: B samples, G passes (1, or 1 + number of conditions), M positions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.errors import GenerationError
from anymodal.generation.infill import Text
from anymodal.generation.logits import Draws, combine, draw, probabilities
from anymodal.generation.schedules import Step, steps_of
from anymodal.generation.state import Known, KnownTokens
from anymodal.model import Context, Transformer
from anymodal.model.transformer import blocked_bias
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import NO_LABEL, Layout, Targets, collate

GRID_SCHEMES = "'maskgit', 'roar' or 'mean'"


@attrs.frozen
class Target:
    """One target of a plan: the stream to generate, how, and optional `weights` of conditions by stream name.

    `conditions` are the streams that guidance by one scale hides (all others by default). `steps` replaces the schedule
    of a grid, `length` the most tokens of a sequence, `until` the marks that end it by the one id given.
    """

    stream: str
    sampling: Sampling
    weights: Mapping[str, float] | None = None
    conditions: Collection[str] | None = None
    steps: Sequence[Step] | None = None
    length: int | None = None
    until: int | None = None


@attrs.frozen
class Pass:
    """One guidance pass: what it does not see, and the weight of its logits (0 for the unconditional one).

    `hidden` streams show what stands for "not given", `absent` ones are left out.
    """

    weight: float = 1.0
    hidden: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


class Sampler:
    """Runs a plan on known tokens. Not a module: it holds no weights of its own."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.layout: Layout = model.layout

    @torch.inference_mode()
    def run(
        self, samples: Sequence[KnownTokens], plan: Sequence[Target], draws: Sequence[int | Draws]
    ) -> Iterator[str]:
        """Generate the targets one after the other into `samples`; each becomes a condition of the next.

        `draws` are seeds, one a sample, or objects that make the random choices. Yields the name of the stream after
        every step, so that intermediate states can be watched.
        """
        choices = [d if isinstance(d, Draws) else Draws(d) for d in draws]
        for target in plan:
            stream, scheme = self.layout[target.stream], target.sampling.scheme
            if not stream.target:
                raise GenerationError(f"{stream.name!r} is input-only and cannot be generated")
            if stream.is_sequence != (scheme == "autoregressive"):
                kind, fits = ("sequence", "'autoregressive'") if stream.is_sequence else ("grid", GRID_SCHEMES)
                raise GenerationError(f"{stream.name!r} is a {kind}: use the scheme {fits}")
            if target.sampling.samples > 1 and not stream.is_sequence:
                raise GenerationError(f"{stream.name!r} is a grid, of which one sample at a time is drawn")
            passes = self.passes(samples, target)
            if stream.is_sequence:
                yield from self._write_sequence(samples, stream, target, passes, choices)
            elif scheme == "mean":
                yield from self._estimate_grid(samples, stream, target.sampling, passes)
            else:
                yield from self._fill_grid(samples, stream, target, passes, choices)

    def passes(self, samples: Sequence[KnownTokens], target: Target) -> list[Pass]:
        """The passes whose logits are combined: one without guidance, else the unconditional one first.

        A single scale weighs "everything" against "the conditions hidden"; several weights weigh each condition alone
        against none of them (4M-21, arXiv 2406.09406).
        """
        given = frozenset(name for s in samples for name in s.streams if name != target.stream)
        if target.weights:
            if missing := sorted(set(target.weights) - given):
                raise GenerationError(f"weights name {missing[0]!r}, which is not among the given inputs")
            alone = [Pass(weight, absent=given - {name}) for name, weight in target.weights.items()]
            return [Pass(0.0, absent=given), *alone]
        conditions = given if target.conditions is None else given & frozenset(target.conditions)
        if target.sampling.guidance == 1 or not conditions:
            return [Pass()]
        return [Pass(0.0, hidden=conditions), Pass(target.sampling.guidance)]

    # Grids.

    def _fill_grid(
        self,
        samples: Sequence[KnownTokens],
        stream: Stream,
        target: Target,
        passes: list[Pass],
        draws: Sequence[Draws],
    ) -> Iterator[str]:
        how, in_order = target.sampling, target.sampling.scheme == "roar"
        unknown = [s.unknown(stream) for s in samples]
        plans = [steps_of(how, len(u)) if target.steps is None else target.steps for u in unknown]
        if in_order:
            unknown = [d.order(u) for d, u in zip(draws, unknown, strict=True)]
        for k in range(max(map(len, plans), default=0)):
            busy = [b for b, plan in enumerate(plans) if k < len(plan)]
            asked = [np.sort(unknown[b][: plans[b][k].count]) if in_order else unknown[b] for b in busy]
            logits = self.grid_logits([samples[b] for b in busy], stream, asked, passes)
            heat = torch.tensor([plans[b][k].temperature for b in busy])
            ids, confidence = self._draw_rows(logits, asked, heat, how, [draws[b] for b in busy])
            for row, b in enumerate(busy):
                positions, count = asked[row], plans[b][k].count
                mine = ids[row, : len(positions)]
                kept = slice(None) if in_order else draws[b].choose(mine, confidence[row, : len(positions)], count)
                samples[b].extend(stream.name, mine[kept], positions[kept])
                unknown[b] = unknown[b][count:] if in_order else np.setdiff1d(unknown[b], positions[kept])
            yield stream.name

    @staticmethod
    def _draw_rows(
        logits: Tensor, asked: Sequence[np.ndarray], heat: Tensor, how: Sampling, draws: Sequence[Draws]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids and their probabilities (B, M) for logits (B, M, V), drawn in one go."""
        batch, most, size = logits.shape
        uniform = torch.zeros(batch, most)
        for row, positions, choice in zip(uniform, asked, draws, strict=True):
            row[: len(positions)] = choice.uniform(len(positions))
        flat = uniform.view(-1).to(logits.device)
        spread = heat.repeat_interleave(most)
        ids, confidence = draw(logits.reshape(-1, size), flat, spread, how.top_k, how.top_p, draws[0].greedy)
        return ids.view(batch, most).cpu().numpy(), confidence.view(batch, most).cpu().numpy()

    def _estimate_grid(
        self, samples: Sequence[KnownTokens], stream: Stream, how: Sampling, passes: list[Pass]
    ) -> Iterator[str]:
        """One pass: the most likely ids, and what the model believes of every position."""
        unknown = [s.unknown(stream) for s in samples]
        if max(map(len, unknown)):
            logits = self.grid_logits(samples, stream, unknown, passes)
            assert isinstance(stream.space, TokenSpace)
            for row, (sample, positions) in enumerate(zip(samples, unknown, strict=True)):
                shares = probabilities(logits[row, : len(positions)], how.temperature, how.top_k, how.top_p)
                sample.extend(stream.name, shares.argmax(-1).cpu().numpy(), positions)
                belief = np.eye(stream.space.size, dtype=np.float32)[sample.streams[stream.name].values]
                belief[positions] = shares.cpu().numpy()
                sample.beliefs[stream.name] = belief
        yield stream.name

    def grid_logits(
        self, samples: Sequence[KnownTokens], stream: Stream, asked: Sequence[np.ndarray], passes: list[Pass]
    ) -> Tensor:
        """Guided logits (B, M, V) of the asked positions of a grid, padded to the longest list."""
        context = self._encode(samples, passes)
        first, most = self.layout.positions[stream.name].start, max(map(len, asked))
        positions = np.zeros((len(asked), most), np.int64)
        streams = np.full((len(asked), most), -1, np.int64)
        for row, list_ in enumerate(asked):
            positions[row, : len(list_)] = list_ + first
            streams[row, : len(list_)] = self.layout.index[stream.name]
        targets = self._targets(np.zeros_like(positions), positions, streams, len(passes))
        return self._guided(self.model.logits(self.model.decode(targets, context), stream.name), passes)

    def _targets(self, ids: np.ndarray, positions: np.ndarray, streams: np.ndarray, passes: int) -> Targets:
        """Targets (G * B, M) that see all others of their stream; the same for every pass."""
        device = self.model.input_table.device
        fed, where, which = (torch.from_numpy(a).to(device).repeat(passes, 1) for a in (ids, positions, streams))
        reach = torch.full_like(fed, ids.shape[1])
        return Targets(fed, where, which, reach, torch.full_like(fed, NO_LABEL))

    def _encode(self, samples: Sequence[KnownTokens], passes: list[Pass]) -> Context:
        """One encoder run over all passes, the passes outermost (G * B rows)."""
        packed = [s.pack(p.hidden, p.absent) for p in passes for s in samples]
        batch = collate(packed, self.layout, input_tokens=1).to(self.model.input_table.device)
        return self.model.encode(batch.inputs)

    def _guided(self, logits: Tensor, passes: list[Pass]) -> Tensor:
        if len(passes) == 1:
            return logits
        stacked = logits.view(len(passes), -1, *logits.shape[1:]).float()
        return combine(stacked, torch.tensor([p.weight for p in passes[1:]]))

    # Sequences.

    def _write_sequence(
        self,
        samples: Sequence[KnownTokens],
        stream: Stream,
        target: Target,
        passes: list[Pass],
        draws: Sequence[Draws],
    ) -> Iterator[str]:
        """Every row of the batch is one text; inputs are encoded once for all the texts of a sample."""
        space, how, times = stream.space, target.sampling, target.sampling.samples
        assert isinstance(space, TokenSpace)
        length = space.length if target.length is None else target.length
        prompts = [sample.open(stream) for sample in samples for _ in range(times)]
        texts = [Text(prompt, space, target.until) for prompt in prompts]
        choices = [branch for choice in draws for branch in choice.branch(times)]
        context = _repeated(self._encode(samples, passes), times)
        bias = blocked_bias(context.attended[:, None, None], context.tokens)
        caches = self.model.start(context, length)
        rows = list(range(len(texts)))
        for k in range(length):
            last = np.array([texts[r].last for r in rows])
            states = self.model.step(self._next(stream, last, k, len(passes)), bias, caches)
            logits = self._guided(self.model.logits(states, stream.name), passes)[:, 0]
            uniform = torch.stack([torch.zeros(()) if texts[r].done else choices[r].uniform(1)[0] for r in rows])
            drawn, _ = draw(
                logits, uniform.to(logits.device), how.temperature, how.top_k, how.top_p, choices[rows[0]].greedy
            )
            for r, token in zip(rows, drawn.tolist(), strict=True):
                texts[r].add(token)
            yield stream.name
            busy = [i for i, r in enumerate(rows) if not texts[r].done]
            if not busy:
                break
            if 2 * len(busy) <= len(rows):
                kept = torch.tensor([g * len(rows) + i for g in range(len(passes)) for i in busy], device=logits.device)
                for cache in caches:
                    cache.keep(kept)
                bias, rows = bias[kept], [rows[i] for i in busy]
        for number, sample in enumerate(samples):
            mine = [text.value(length) for text in texts[number * times : (number + 1) * times]]
            sample.put(stream.name, Known.whole(mine[0]))
            if times > 1:
                sample.drawn[stream.name] = mine

    def _next(self, stream: Stream, last: np.ndarray, k: int, passes: int) -> Targets:
        """Targets (G * B, 1): the token of rank k + 1 follows `last` (B,), of rank k."""
        ids = (last + self.layout.queries[stream.name].start)[:, None]
        where = np.full_like(ids, self.layout.target_rows(stream.name, np.array([k]))[0])
        return self._targets(ids, where, np.full_like(ids, self.layout.index[stream.name]), passes)


def _repeated(context: Context, times: int) -> Context:
    """Every sample of a context several times, one after the other."""
    if times == 1:
        return context
    return Context(context.tokens.repeat_interleave(times, 0), context.attended.repeat_interleave(times, 0))
