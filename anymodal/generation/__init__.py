"""Generation: a plan of targets, and the sampler that decodes them (4M, arXiv 2312.06647).

plan.py       targets: what is generated, and how
state.py      what is known of a sample
rng.py        the random choices of a sample
logits.py     from logits to tokens
encodings.py  what samples are encoded to, remembered
reuse.py      what is encoded again only every few steps
guidance.py   guided logits from several passes
run.py        a target while it is generated: its steps, and what a scheme is
grids.py      schemes of grids
sequences.py  the scheme of sequences
infill.py     a text while it is written
sampler.py    the loop over a plan
values.py     natural values of tokens
batch.py      the samples of a request that are generated together

The tables of schemes, token schedules and anneals are in `anymodal.sampling`.
"""

from anymodal.generation.guidance import GuidedModel, Pass, guidance_passes
from anymodal.generation.plan import Target
from anymodal.generation.rng import SampleRng
from anymodal.generation.run import GenerationScheme, GenerationStep, TargetRun
from anymodal.generation.sampler import Sampler
from anymodal.generation.state import SampleState, StreamTokens

__all__ = [
    "GenerationScheme",
    "GenerationStep",
    "GuidedModel",
    "Pass",
    "SampleRng",
    "SampleState",
    "Sampler",
    "StreamTokens",
    "Target",
    "TargetRun",
    "guidance_passes",
]
