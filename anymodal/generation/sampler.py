"""The sampler: generates the targets of a plan one after the other (4M, arXiv 2312.06647)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from anymodal.errors import GenerationError
from anymodal.generation.guidance import GuidedModel, guidance_passes
from anymodal.generation.plan import Target
from anymodal.generation.rng import SampleRng
from anymodal.generation.run import GenerationStep, TargetRun
from anymodal.generation.state import SampleState
from anymodal.model import Transformer
from anymodal.sampling import SCHEMES


class Sampler:
    """Runs plans on what is known of samples. Not a module: it holds no weights of its own."""

    def __init__(self, transformer: Transformer) -> None:
        self.model = GuidedModel(transformer)

    @torch.inference_mode()
    def run(
        self, states: Sequence[SampleState], plan: Sequence[Target], rngs: Sequence[int | SampleRng]
    ) -> Iterator[GenerationStep]:
        """Generate targets into `states`; each becomes a condition of the next.

        Args:
            states: what is known of each sample.
            plan: the targets in order.
            rngs: seeds, one a sample, or objects that make its choices.

        Yields:
            What was done: after every step, once for each sample that took part in it.

        Raises:
            GenerationError: a target cannot be generated as the plan says.
        """
        choices = [rng if isinstance(rng, SampleRng) else SampleRng(rng) for rng in rngs]
        for target in plan:
            stream, scheme = self.model.layout[target.stream], SCHEMES[target.sampling.scheme]
            if not stream.target:
                raise GenerationError(f"{stream.name!r} is input-only and cannot be generated")
            if stream.is_sequence != scheme.sequences:
                fits = " or ".join(repr(name) for name in SCHEMES if SCHEMES[name].sequences == stream.is_sequence)
                kind = "sequence" if stream.is_sequence else "grid"
                raise GenerationError(f"{stream.name!r} is a {kind}: use the scheme {fits}")
            if target.sampling.samples > 1 and not stream.is_sequence:
                raise GenerationError(f"{stream.name!r} is a grid, of which one sample at a time is drawn")
            passes = guidance_passes(states, target)
            yield from scheme.load()().run(TargetRun(self.model, states, target, stream, passes, choices))
