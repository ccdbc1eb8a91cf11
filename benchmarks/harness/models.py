"""Transformers with random weights over the 21 published vocabularies (4M-21, arXiv 2406.09406)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anymodal.checkpoints.formats.fourm.domains import DOMAINS
from anymodal.generation import Sampler, SampleState, Target
from anymodal.model import ModelConfig, Transformer
from anymodal.sampling import Sampling
from anymodal.spaces import TokenSpace
from anymodal.tokens import Layout

SIZES = {
    "s": ModelConfig(dim=384, encoder_depth=6, decoder_depth=6, heads=6),
    "B": ModelConfig(dim=768, encoder_depth=12, decoder_depth=12, heads=12),
}
ROWS = 512  # of the positions of every published sequence
DEVIATION = 4.0  # of scores: as peaked as those of a trained model


def published_layout() -> Layout:
    """All streams of 4M-21 at 224 pixels."""
    streams = [d.as_stream(True, d.stream != "rgb.pixels") for d in DOMAINS.values() if not d.name.endswith("@448")]
    return Layout(streams, {s.name: ROWS for s in streams if s.is_sequence and not s.is_dense})


def transformer(size: str, dtype: str = "float32") -> Transformer:
    """A model that writes texts of full length: no mark that ends one is likely. Its precision is the default."""
    torch.manual_seed(0)
    layout = published_layout()
    model = Transformer(SIZES[size], layout).eval().requires_grad_(False)
    model.output_table *= DEVIATION / (model.output_table.std() * SIZES[size].dim ** 0.5)  # of states that are normed
    for stream in layout.targets:
        if stream.is_sequence and isinstance(stream.space, TokenSpace):
            rows = model.output_table[layout.outputs[stream.name].rows]
            rows[stream.space.is_sentinel(np.arange(len(rows)))] = 0
            rows[stream.space.end] = 0
    model.precision = "auto"
    return model.to(getattr(torch, dtype))


def multiplied_in(width: int) -> torch.dtype:
    """The type of products in networks of that width by default; float32 in revisions that had no other."""
    try:
        from anymodal.nn.precision import settled
    except ImportError:
        return torch.float32
    return getattr(torch, settled("auto", torch.zeros(1), width))  # type: ignore[no-any-return]


def known(layout: Layout, names: Sequence[str], batch: int) -> list[SampleState]:
    """Samples of which all of the named streams is known, at random; texts have 40 words."""
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(batch):
        tokens = {}
        for name in names:
            space = layout[name].space
            count = space.length if space.shape is not None else min(40, space.length)
            if isinstance(space, TokenSpace):
                tokens[name] = rng.integers(300 if layout[name].is_sequence else 0, space.size, count)
            else:
                tokens[name] = rng.standard_normal((count, space.width)).astype(np.float32)
        samples.append(SampleState(layout, tokens))
    return samples


def generate(
    model: Transformer, given: Sequence[str], plan: Sequence[tuple[str, Sampling]], batch: int, **how: Any
) -> int:
    """Generate the targets of a plan, and return how many steps that were; `how` goes to `Sampler.run`."""
    states = known(model.layout, given, batch)
    targets = [Target(name, each) for name, each in plan]
    return sum(1 for _ in Sampler(model).run(states, targets, list(range(batch)), **how))


def words() -> int:
    """How many words the published vocabulary has."""
    return DOMAINS["caption"].space.size  # type: ignore[union-attr]
