"""How a target is generated."""

from __future__ import annotations

import attrs

from anymodal.validators import at_least, at_most, integer, one_of, real


@attrs.frozen(kw_only=True)
class Sampling:
    """How a target is generated; `anymodal.generation` explains the schemes and schedules.

    Grids: `scheme` 'maskgit' (predict all, keep the most confident) or 'roar' (random order), in `steps` forward passes
    whose shares follow `schedule` ('linear' or 'cosine'), or 'mean' (one pass; the value is decoded from the mean code
    under the predicted probabilities, the tokens are the most likely ones). Sequences: 'autoregressive'. `temperature`
    0 takes the most likely token; `anneal` is 'constant', 'linear', 'onex:MIN:POWER' or 'down:MIN'. `top_k` and `top_p`
    0 mean off, `guidance` 1 means none. `samples` sequences are drawn and merged where the modality can (`merge`).
    """

    scheme: str = attrs.field(default="roar", validator=one_of("maskgit", "roar", "mean", "autoregressive"))
    steps: int = attrs.field(default=8, converter=integer, validator=at_least(1))
    schedule: str = attrs.field(default="linear", validator=one_of("linear", "cosine"))
    temperature: float = attrs.field(default=1.0, converter=real, validator=at_least(0))
    anneal: str = "constant"
    top_k: int = attrs.field(default=0, converter=integer, validator=at_least(0))
    top_p: float = attrs.field(default=0.0, converter=real, validator=[at_least(0), at_most(1)])
    guidance: float = attrs.field(default=1.0, converter=real)
    samples: int = attrs.field(default=1, converter=integer, validator=at_least(1))
