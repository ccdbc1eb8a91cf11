"""The sampler: fills grids in parallel and writes sequences token by token (4M, arXiv 2312.06647).

Every sample of a batch gets what it would get alone: lengths differ freely and each has its own random numbers.
Guidance runs as more rows of the same batch. Shapes: B samples, G passes (1, or 1 + number of conditions), M positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.errors import GenerationError
from anymodal.generation.draw import combine, draw, probabilities
from anymodal.generation.known import Known, KnownTokens
from anymodal.generation.schedules import temperature_schedule, token_schedule
from anymodal.modality import Sampling
from anymodal.model import Context, Transformer
from anymodal.model.transformer import blocked_bias
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import NO_LABEL, Layout, Targets, collate


@attrs.frozen
class Target:
    """One target of a plan: the stream to generate, how, and optional weights of conditions by stream name."""

    stream: str
    sampling: Sampling
    weights: Mapping[str, float] | None = None


@attrs.frozen
class _Pass:
    """One guidance pass: the streams it does not see and the weight of its logits (0 for the unconditional one)."""

    hidden: frozenset[str]
    weight: float


class Sampler:
    """Runs a plan on known tokens. Not a module: it holds no weights of its own."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.layout: Layout = model.layout

    @torch.inference_mode()
    def run(self, samples: Sequence[KnownTokens], plan: Sequence[Target], seeds: Sequence[int]) -> Iterator[str]:
        """Generate the targets one after the other into `samples`; each becomes a condition of the next.

        Yields the name of the stream after every step, so that intermediate states can be watched.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for target in plan:
            stream = self.layout[target.stream]
            if not stream.target:
                raise GenerationError(f"{stream.name!r} is input-only and cannot be generated")
            passes = self._passes(samples, target)
            if stream.is_sequence:
                yield from self._write_sequence(samples, stream, target.sampling, passes, generators)
            elif target.sampling.scheme == "mean":
                yield from self._estimate_grid(samples, stream, target.sampling, passes)
            else:
                yield from self._fill_grid(samples, stream, target.sampling, passes, generators)

    def _passes(self, samples: Sequence[KnownTokens], target: Target) -> list[_Pass]:
        given = frozenset(name for s in samples for name in s.streams if name != target.stream)
        if target.weights:
            if missing := sorted(set(target.weights) - given):
                raise GenerationError(f"weights name {missing[0]!r}, which is not among the given inputs")
            apart = [_Pass(given - {name}, weight) for name, weight in target.weights.items()]
            return [_Pass(given, 0.0), *apart]
        if target.sampling.guidance == 1 or not given:
            return [_Pass(frozenset(), 1.0)]
        return [_Pass(given, 0.0), _Pass(frozenset(), target.sampling.guidance)]

    # Grids.

    def _fill_grid(
        self,
        samples: Sequence[KnownTokens],
        stream: Stream,
        how: Sampling,
        passes: list[_Pass],
        generators: list[torch.Generator],
    ) -> Iterator[str]:
        if how.scheme == "autoregressive":
            raise GenerationError(f"{stream.name!r} is a grid: use the scheme 'maskgit', 'roar' or 'mean'")
        unknown = [s.unknown(stream) for s in samples]
        counts = [token_schedule(how.schedule, len(u), how.steps) if len(u) else [] for u in unknown]
        temperatures = [temperature_schedule(how.anneal, how.temperature, c) for c in counts]
        random_order = how.scheme == "roar"
        if random_order:
            unknown = [u[torch.randperm(len(u), generator=g).numpy()] for u, g in zip(unknown, generators, strict=True)]
        for step in range(max(map(len, counts), default=0)):
            busy = [b for b, c in enumerate(counts) if step < len(c)]
            asked = [np.sort(unknown[b][: counts[b][step]]) if random_order else unknown[b] for b in busy]
            logits = self._grid_logits([samples[b] for b in busy], stream, asked, passes)
            for row, b in enumerate(busy):
                positions, count = asked[row], counts[b][step]
                uniform = torch.rand(len(positions), generator=generators[b]).to(logits.device)
                heat = temperatures[b][step]
                ids, confidence = draw(logits[row, : len(positions)], uniform, heat, how.top_k, how.top_p)
                kept = (
                    np.arange(count)
                    if random_order
                    else confidence.argsort(descending=True, stable=True)[:count].cpu().numpy()
                )
                samples[b].extend(stream.name, ids.cpu().numpy()[kept], positions[kept])
                unknown[b] = np.setdiff1d(unknown[b], positions[kept]) if not random_order else unknown[b][count:]
            yield stream.name

    def _estimate_grid(
        self, samples: Sequence[KnownTokens], stream: Stream, how: Sampling, passes: list[_Pass]
    ) -> Iterator[str]:
        """One pass: the most likely ids, and what the model believes of every position."""
        unknown = [s.unknown(stream) for s in samples]
        if max(map(len, unknown)):
            logits = self._grid_logits(samples, stream, unknown, passes)
            assert isinstance(stream.space, TokenSpace)
            for row, (sample, positions) in enumerate(zip(samples, unknown, strict=True)):
                shares = probabilities(logits[row, : len(positions)], how.temperature, how.top_k, how.top_p)
                sample.extend(stream.name, shares.argmax(-1).cpu().numpy(), positions)
                belief = np.eye(stream.space.size, dtype=np.float32)[sample.streams[stream.name].values]
                belief[positions] = shares.cpu().numpy()
                sample.beliefs[stream.name] = belief
        yield stream.name

    def _grid_logits(
        self, samples: Sequence[KnownTokens], stream: Stream, asked: Sequence[np.ndarray], passes: list[_Pass]
    ) -> Tensor:
        """Guided logits (B, M, V) of the asked positions, padded to the longest list."""
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

    def _encode(self, samples: Sequence[KnownTokens], passes: list[_Pass], opened: str | None = None) -> Context:
        """One encoder run over all passes, the passes outermost (G * B rows)."""
        packed = [s.pack(p.hidden, opened) for p in passes for s in samples]
        batch = collate(packed, self.layout, input_tokens=1).to(self.model.input_table.device)
        return self.model.encode(batch.inputs)

    def _guided(self, logits: Tensor, passes: list[_Pass]) -> Tensor:
        if len(passes) == 1:
            return logits
        stacked = logits.view(len(passes), -1, *logits.shape[1:]).float()
        return combine(stacked, torch.tensor([p.weight for p in passes[1:]]))

    # Sequences.

    def _write_sequence(
        self,
        samples: Sequence[KnownTokens],
        stream: Stream,
        how: Sampling,
        passes: list[_Pass],
        generators: list[torch.Generator],
    ) -> Iterator[str]:
        if how.scheme != "autoregressive":
            raise GenerationError(f"{stream.name!r} is a sequence: use the scheme 'autoregressive'")
        space = stream.space
        assert isinstance(space, TokenSpace)
        model, batch, length = self.model, len(samples), space.length
        for sample in samples:
            sample.streams.pop(stream.name, None)
        context = self._encode(samples, passes, opened=stream.name)
        context_bias = blocked_bias(context.attended[:, None, None], context.tokens)
        caches = model.start(context, length)
        last = np.full(batch, space.sentinel(1), np.int64)
        written: list[list[int]] = [[] for _ in samples]
        open_rows = np.ones(batch, bool)
        for k in range(length):
            ids = (last + self.layout.queries[stream.name].start)[:, None]
            place = np.full((batch, 1), self.layout.positions[stream.name].start + k)
            which = np.full((batch, 1), self.layout.index[stream.name])
            states = model.step(self._targets(ids, place, which, len(passes)), context_bias, caches)
            logits = self._guided(model.logits(states, stream.name), passes)[:, 0]
            uniform = torch.stack([torch.rand((), generator=g) for g in generators]).to(logits.device)
            drawn, _ = draw(logits, uniform, how.temperature, how.top_k, how.top_p)
            last = drawn.cpu().numpy()
            done = (last == space.end) | space.is_sentinel(last)
            for b in np.flatnonzero(open_rows & ~done):
                written[b].append(int(last[b]))
            open_rows &= ~done
            yield stream.name
            if not open_rows.any():
                break
        for sample, ids_ in zip(samples, written, strict=True):
            sample.put(stream.name, Known.whole(np.array([*ids_[: length - 1], space.end], np.int64)))
