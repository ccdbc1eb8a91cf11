"""How a target is generated: the scheme, how many tokens each step decides, at which temperature, and how inputs guide.

Four tables hold the choices: `SCHEMES`, `TOKEN_SCHEDULES`, `ANNEALS` and `GUIDANCES`. Another distribution adds its
own with their `add`, or by an entry point in the group "anymodal.sampling_schemes", "anymodal.token_schedules",
"anymodal.temperature_anneals" or "anymodal.guidances". All are small classes with their own options; users write them
as NAME or NAME:VALUE:.., with the values in the order of the fields. Nothing here imports torch.
"""

from anymodal.sampling.anneals import ANNEALS, Anneal
from anymodal.sampling.guidance import GUIDANCES, Guidance
from anymodal.sampling.options import Sampling, SamplingOptions, plain_options
from anymodal.sampling.schedules import TOKEN_SCHEDULES, TokenSchedule
from anymodal.sampling.schemes.autoregressive import Autoregressive, Beam
from anymodal.sampling.schemes.base import (
    SCHEMES,
    Change,
    Choices,
    GridScheme,
    GridState,
    Ordered,
    Predicted,
    Scheme,
    Step,
)
from anymodal.sampling.schemes.corrector import Corrector
from anymodal.sampling.schemes.entropy import EntropyBound
from anymodal.sampling.schemes.halton import Halton
from anymodal.sampling.schemes.maskgit import MaskGit
from anymodal.sampling.schemes.mean import Mean
from anymodal.sampling.schemes.remask import Remask
from anymodal.sampling.schemes.roar import Roar

__all__ = [
    "ANNEALS",
    "GUIDANCES",
    "SCHEMES",
    "TOKEN_SCHEDULES",
    "Anneal",
    "Autoregressive",
    "Beam",
    "Change",
    "Choices",
    "Corrector",
    "EntropyBound",
    "GridScheme",
    "GridState",
    "Guidance",
    "Halton",
    "MaskGit",
    "Mean",
    "Ordered",
    "Predicted",
    "Remask",
    "Roar",
    "Sampling",
    "SamplingOptions",
    "Scheme",
    "Step",
    "TokenSchedule",
    "plain_options",
]
