"""The sampler: generates the targets of a plan, each from those before it or apart (4M, arXiv 2312.06647)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from anymodal.errors import GenerationError
from anymodal.generation.guidance import GuidedModel, guidance_passes
from anymodal.generation.plan import Target
from anymodal.generation.rng import SampleRng
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.state import SampleState
from anymodal.model import Transformer
from anymodal.sampling import SCHEMES


class Sampler:
    """Runs plans on what is known of samples. Not a module: it holds no weights of its own."""

    def __init__(self, transformer: Transformer) -> None:
        self.model = GuidedModel(transformer)

    @torch.inference_mode()
    def run(
        self,
        states: Sequence[SampleState],
        plan: Sequence[Target],
        rngs: Sequence[int | SampleRng],
        chain: bool = True,
    ) -> Iterator[GenerationStep]:
        """Generate targets into `states`.

        Args:
            states: what is known of each sample.
            plan: the targets in order.
            rngs: seeds, one a sample, or objects that make its choices.
            chain: whether each target becomes a condition of the next. Without it each is what it would be alone, with
                the same choices, and what can be computed once for several of them is.

        Yields:
            What was done: after every step, once for each sample that took part in it.

        Raises:
            GenerationError: a target cannot be generated as the plan says.
        """
        choices = [rng if isinstance(rng, SampleRng) else SampleRng(rng) for rng in rngs]
        schemes = {target.sampling.scheme: self._scheme(target) for target in plan}
        if chain:
            for target in plan:
                yield from schemes[target.sampling.scheme].run(self._run(states, target, choices))
            return
        runs = [self._run([s.copy() for s in states], each, [r.copy() for r in choices]) for each in plan]
        for name, scheme in schemes.items():
            together = [run for run in runs if run.sampling.scheme == name]
            yield from scheme.run_all(together)
            for run in together:
                for state, own in zip(states, run.states, strict=True):
                    state.put(run.stream.name, own.streams[run.stream.name])

    def _scheme(self, target: Target) -> GenerationScheme:
        """The scheme of a target. Raises GenerationError if it does not fit."""
        stream, scheme = self.model.layout[target.stream], target.sampling.scheme
        if not stream.target:
            raise GenerationError(f"{stream.name!r} is input-only and cannot be generated")
        if stream.is_sequence != scheme.sequences:
            fits = " or ".join(repr(name) for name in SCHEMES if SCHEMES[name].sequences == stream.is_sequence)
            kind = "sequence" if stream.is_sequence else "grid"
            raise GenerationError(f"{stream.name!r} is a {kind}: use the scheme {fits}")
        return scheme.load()()

    def _run(self, states: Sequence[SampleState], target: Target, choices: Sequence[SampleRng]) -> TargetRun:
        stream = self.model.layout[target.stream]
        return TargetRun(self.model.of(target), states, target, stream, guidance_passes(states, target), choices)
