"""The numbers of a masking recipe: components of the mixture, and totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import attrs

from anymodal.config.validators import weighed
from anymodal.errors import ConfigError, nearest
from anymodal.masking.schemes import SCHEMES, FullBudgets, MaskingScheme
from anymodal.tokens import Layout

T = TypeVar("T")

OTHERS = "*"
KEEPS = ("random", "all", "none", "binary")


@attrs.frozen
class Component:
    """One component of the mixture: Dirichlet concentrations by stream name; streams not named have 0.

    The name "*" stands for all streams of the set that are not named beside it: in `inputs` for those that can be
    inputs, dense ones such as pixels and finer ones among them, in `targets` for those that can be targets, in `keep`
    for sequences.

    `keep` says how much of a sequence stays visible when it is an input: 'random' (uniform share), 'all', 'none', or
    'binary' (all or nothing by a coin). `input_tokens` (least, most) replaces the configuration's number.
    """

    inputs: Mapping[str, float]
    targets: Mapping[str, float]
    weight: float = 1.0
    keep: Mapping[str, str] = attrs.field(factory=dict)
    input_tokens: tuple[int, int] | None = None

    def __attrs_post_init__(self) -> None:
        for name, keep in self.keep.items():
            if keep not in KEEPS:
                raise ConfigError(f"keep of {name!r} must be one of {', '.join(KEEPS)}, got {keep!r}")
        weighed(self.weight, "the weight of a mixture component")
        for side, values in (("inputs", self.inputs), ("targets", self.targets)):
            for name, value in values.items():
                weighed(value, f"{name} in {side} of a mixture component")
        if self.input_tokens is not None and not 0 <= self.input_tokens[0] <= self.input_tokens[1]:
            raise ConfigError(f"input_tokens must be (least, most), got {self.input_tokens}")


def _as_tuple(components: Iterable[Component]) -> tuple[Component, ...]:
    return tuple(components)


def _scheme(value: MaskingScheme | str) -> MaskingScheme:
    return SCHEMES(value)


@attrs.frozen
class MaskingConfig:
    """How samples are masked: numbers of input and target tokens, and the mixture of Dirichlet components.

    `scheme` 'full' fills the budgets whenever a sample has enough tokens; 'fourm' masks exactly as published, where
    what a stream has no room for is lost; `anymodal.masking.SCHEMES` has all of them. `chunks` says for streams whose
    tokens belong together how many do: each chunk is hidden or kept as a whole, the end mark is one of its own.
    """

    input_tokens: int = 128
    target_tokens: int = 128
    components: tuple[Component, ...] = attrs.field(factory=tuple, converter=_as_tuple)
    scheme: MaskingScheme = attrs.field(factory=FullBudgets, converter=_scheme)
    chunks: Mapping[str, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if min(self.input_tokens, self.target_tokens) < 0:
            raise ConfigError(
                f"masking needs input_tokens and target_tokens of at least 0, got {self.input_tokens} and"
                f" {self.target_tokens}"
            )
        if self.components and not any(component.weight for component in self.components):
            raise ConfigError("all components of the mixture have the weight 0; give one of them more")
        for name, size in self.chunks.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ConfigError(f"the tokens of a chunk of {name!r} must be a positive whole number, got {size!r}")


def spelled_out(config: MaskingConfig, layout: Layout) -> MaskingConfig:
    """The recipe for a set: every "*" is replaced by the streams that it stands for.

    Raises ConfigError for a stream that the set does not have.
    """
    if not config.components:
        raise ConfigError("masking needs at least one component of the mixture")
    readable = [stream.name for stream in layout.streams if stream.input]
    writable = [stream.name for stream in layout.streams if stream.target]
    sequences = [stream.name for stream in layout.streams if stream.is_sequence]
    components = [
        attrs.evolve(
            component,
            inputs=_without_others(component.inputs, readable),
            targets=_without_others(component.targets, writable),
            keep=_without_others(component.keep, sequences),
        )
        for component in config.components
    ]
    for component in components:
        for name in [*component.inputs, *component.targets, *component.keep, *config.chunks]:
            if name not in layout:
                raise ConfigError(
                    f"masking names the stream {name!r}, which is not in the set{nearest(name, layout.index)}"
                )
    for number, component in enumerate(components):
        if not any(component.targets.get(name) for name in writable):
            known = ", ".join(writable) or "none"
            raise ConfigError(
                f"component {number} of the mixture has no targets to predict; streams that can be: {known}"
            )
        for name in component.keep:
            if name not in sequences:
                known = ", ".join(sequences) or "none"
                raise ConfigError(
                    f"keep of component {number} names {name!r}, which is no sequence; sequences: {known}"
                )
    return attrs.evolve(config, components=components)


def _without_others(values: Mapping[str, T], streams: Iterable[str]) -> dict[str, T]:
    """The values by name, those of `streams` that are not named have the value of "*"."""
    named = {name: value for name, value in values.items() if name != OTHERS}
    return {**dict.fromkeys(streams, values[OTHERS]), **named} if OTHERS in values else named
