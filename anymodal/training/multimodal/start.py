"""What a run starts from, and what of it may change."""

from __future__ import annotations

import attrs

from anymodal.config.validators import between, count, positive
from anymodal.errors import ConfigError

MOST_RANK = 4096  # an adapter of more is no thinner than the layers of any model here


@attrs.frozen(kw_only=True)
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): all that is trained are two thin matrices a linear layer.

    `targets` are the layers that get them, by the last part of their names; an adapter's output is scaled by
    alpha / rank. `also` are patterns of weights that are trained beside, such as "output_table". The result is merged
    into the weights; with `keep`, OUT/adapters holds the adapters alone as well.
    """

    rank: int = attrs.field(default=16, validator=count(MOST_RANK))
    alpha: float = attrs.field(default=32.0, validator=positive)
    dropout: float = attrs.field(default=0.0, validator=between(0, 1, below=True))
    targets: tuple[str, ...] = ("qkv", "proj", "q", "kv", "fc1", "fc2", "fc3")
    also: tuple[str, ...] = ()
    keep: bool = False


@attrs.frozen(kw_only=True)
class StartConfig:
    """What a run starts from: a `model`, as `anymodal.load` takes it, and what of it may change.

    `freeze` are patterns of names of weights that stay as they are, such as "encoder.*", for all of the run or its
    first `freeze_steps`. With `lora` only adapters are trained. With `grow` the new model may be larger, and begins
    with what the smaller one computes.
    """

    model: str
    grow: bool = False
    freeze: tuple[str, ...] = ()
    freeze_steps: int | None = None
    lora: LoraConfig | None = None

    def __attrs_post_init__(self) -> None:
        if self.lora is not None and self.grow:
            raise ConfigError("start: adapters of lora fit a model as large as the one before; leave out grow, or lora")
        if self.lora is not None and self.freeze:
            raise ConfigError("start: lora freezes all that it does not train; leave out freeze")
        if self.freeze_steps is not None and (self.freeze_steps < 1 or not self.freeze):
            raise ConfigError(f"start: freeze_steps is {self.freeze_steps}; give at least 1, and freeze beside it")
