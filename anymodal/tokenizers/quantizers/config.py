"""The kinds of quantizers: one small class of settings each, which also builds it; nothing here imports torch.

A kind is added by a class derived from `QuantizerConfig`, in `QUANTIZERS`. Another distribution adds its own with
`QUANTIZERS.add`, or by an entry point in the group "anymodal.quantizers".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import as_tuple, at_least, between, count, each, whole
from anymodal.errors import ConfigError

if TYPE_CHECKING:
    from anymodal.tokenizers.quantizers.base import Quantizer

MOST_CODEBOOKS = 1024  # more is a damaged file
MOST_NUMBERS = 2**30  # of a table of codes
LEARNING = {"learning": True}  # metadata of a setting that guides how codes learn, and on which no id depends


def _fits(instance: QuantizerConfig, attribute: attrs.Attribute[int], latent: int) -> None:
    """A table of so many codes of so many numbers can be."""
    if instance.size * latent > MOST_NUMBERS:
        raise ConfigError(
            f"{type(instance).__name__}: {instance.size} codes of {latent} numbers are more than {MOST_NUMBERS} in all"
        )


@frozen(kw_only=True)
class QuantizerConfig:
    """What all quantizers have: `codebooks` of `size` codes for latents of `latent` numbers; a latent becomes as many
    ids as there are codebooks."""

    kind: str = field(init=False)
    size: int = field(validator=count())
    latent: int = field(validator=[count(), _fits])
    codebooks: int = field(default=1, validator=count(MOST_CODEBOOKS))

    def build(self) -> Quantizer:
        """The quantizer, with fresh codes."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """The settings that ids depend on."""
        told = {a.name for a in attrs.fields(type(self)) if not a.metadata.get("learning")}
        # Fingerprints of tokenizers from when all kinds had levels stay what they are.
        return {"levels": (), **attrs.asdict(self, filter=lambda a, _: a.name in told)}


QUANTIZERS = SettingsTable(QuantizerConfig, "quantizer", tag="kind")


@QUANTIZERS.add
@frozen(kw_only=True)
class CosineConfig(QuantizerConfig):
    """One codebook, searched by cosine similarity; see `CosineCodebook` for the settings of how it learns."""

    kind: str = field(init=False, default="cosine")
    decay: float = field(default=0.99, validator=between(0, 1, below=True), metadata=LEARNING)
    dead_share: float = field(default=1 / 32, validator=between(0, 1), metadata=LEARNING)
    commitment: float = field(default=1.0, validator=at_least(0), metadata=LEARNING)
    from_data: bool = field(default=True, metadata=LEARNING)

    def __attrs_post_init__(self) -> None:
        if self.codebooks != 1:
            raise ConfigError(
                f"CosineConfig.codebooks must be 1, got {self.codebooks}; the kinds 'product' and 'residual' have more"
            )

    def build(self) -> Quantizer:
        from anymodal.tokenizers.quantizers.cosine import CosineCodebook

        return CosineCodebook(
            self.size,
            self.latent,
            decay=self.decay,
            dead_share=self.dead_share,
            commitment=self.commitment,
            from_data=self.from_data,
        )


@QUANTIZERS.add
@frozen(kw_only=True)
class ProductConfig(QuantizerConfig):
    """The latent cut into `codebooks` parts, each with `size` codes of its own, learned by gradients."""

    kind: str = field(init=False, default="product")

    def __attrs_post_init__(self) -> None:
        if self.latent % self.codebooks:
            raise ConfigError(
                f"ProductConfig: latent {self.latent} does not split into {self.codebooks} codebooks; choose a multiple"
            )

    def build(self) -> Quantizer:
        from anymodal.tokenizers.quantizers.product import ProductQuantizer

        return ProductQuantizer(self.size, self.latent, self.codebooks)


@QUANTIZERS.add
@frozen(kw_only=True)
class ResidualConfig(QuantizerConfig):
    """`codebooks` one after the other, each for what those before it left over. Needs vector-quantize-pytorch."""

    kind: str = field(init=False, default="residual")
    decay: float = field(default=0.99, validator=between(0, 1, below=True), metadata=LEARNING)
    dead_share: float = field(default=1 / 32, validator=between(0, 1), metadata=LEARNING)

    def __attrs_post_init__(self) -> None:
        if self.codebooks < 2:
            raise ConfigError("ResidualConfig needs at least 2 codebooks; the kind 'cosine' has one")

    def build(self) -> Quantizer:
        from anymodal.tokenizers.quantizers.external import ResidualQuantizer, with_library

        given = (self.size, self.latent, self.codebooks, self.decay, self.dead_share)
        return with_library(self.kind, lambda: ResidualQuantizer(*given))


@QUANTIZERS.add
@frozen(kw_only=True)
class FSQConfig(QuantizerConfig):
    """Every number of a latent rounded to one of a few values. Needs vector-quantize-pytorch.

    levels: how many values, at least 3, each number of a part has; their product is `size`. `latent` follows from them
    and need not be given.
    """

    kind: str = field(init=False, default="fsq")
    levels: tuple[int, ...] = field(converter=as_tuple, validator=each(whole, at_least(3), least=1))
    latent: int = field(
        default=attrs.Factory(lambda self: len(self.levels) * self.codebooks, takes_self=True), validator=count()
    )

    def __attrs_post_init__(self) -> None:
        if math.prod(self.levels) != self.size:
            product = " x ".join(map(str, self.levels))
            raise ConfigError(f"levels {product} make {math.prod(self.levels)} codes, not the size {self.size}")
        _check_latent(self, len(self.levels), f"{len(self.levels)} levels")

    def build(self) -> Quantizer:
        from anymodal.tokenizers.quantizers.external import FiniteScalarQuantizer, with_library

        return with_library(self.kind, lambda: FiniteScalarQuantizer(self.levels, self.codebooks))


@QUANTIZERS.add
@frozen(kw_only=True)
class LFQConfig(QuantizerConfig):
    """Every number of a latent rounded to its sign. Needs vector-quantize-pytorch.

    size: a power of two; `latent` follows from it and need not be given. commitment, entropy: weights of its losses.
    """

    kind: str = field(init=False, default="lfq")
    latent: int = field(
        default=attrs.Factory(lambda self: (self.size.bit_length() - 1) * self.codebooks or 1, takes_self=True),
        validator=count(),
    )
    commitment: float = field(default=0.25, validator=at_least(0), metadata=LEARNING)
    entropy: float = field(default=0.1, validator=at_least(0), metadata=LEARNING)

    def __attrs_post_init__(self) -> None:
        if self.size < 2 or self.size & (self.size - 1):
            raise ConfigError(f"LFQConfig.size must be a power of two, for example 1024, got {self.size}")
        _check_latent(self, self.size.bit_length() - 1, f"{self.size} codes of signs")

    def build(self) -> Quantizer:
        from anymodal.tokenizers.quantizers.external import LookupFreeQuantizer, with_library

        given = (self.size, self.codebooks, self.commitment, self.entropy)
        return with_library(self.kind, lambda: LookupFreeQuantizer(*given))


def _check_latent(config: QuantizerConfig, width: int, what: str) -> None:
    if config.latent != width * config.codebooks:
        raise ConfigError(
            f"latent is {config.latent}; {what} in each of {config.codebooks} codebooks need {width * config.codebooks}"
        )
