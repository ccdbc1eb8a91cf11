"""What a configuration says of its Transformer, which a run that starts from a model need not repeat."""

from __future__ import annotations

import attrs

from anymodal.model import ModelConfig

SIZES = ("dim", "encoder_depth", "decoder_depth", "heads")


@attrs.frozen(kw_only=True)
class GivenShape:
    """The fields of `ModelConfig` that are given; None where they are not."""

    dim: int | None = None
    encoder_depth: int | None = None
    decoder_depth: int | None = None
    heads: int | None = None
    mlp_ratio: float | None = None
    gated: bool | None = None
    activation: str | None = None
    qkv_bias: bool | None = None
    proj_bias: bool | None = None
    mlp_bias: bool | None = None
    norm_bias: bool | None = None
    qk_norm: bool | None = None
    registers: int | None = None
    tied_streams: bool | None = None
    separate_targets: bool | None = None
    causal_targets: bool | None = None

    @property
    def sized(self) -> bool:
        """Whether it stands for itself: width, depths and heads are given, and what else is not has its default."""
        return all(getattr(self, name) is not None for name in SIZES)

    def over(self, below: ModelConfig) -> ModelConfig:
        """What is given in the place of what is there. Raises ConfigError if the two make no model."""
        return attrs.evolve(below, **{name: each for name, each in attrs.asdict(self).items() if each is not None})


def as_given(model: ModelConfig | GivenShape | None) -> GivenShape | None:
    """All fields of a ModelConfig as given ones; anything else as it is."""
    return GivenShape(**attrs.asdict(model)) if isinstance(model, ModelConfig) else model
