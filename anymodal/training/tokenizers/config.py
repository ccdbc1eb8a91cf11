"""The configuration of a tokenizer's training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs.validators import optional

from anymodal.config.tables import init_fields
from anymodal.config.validators import HEAVIEST, MOST, as_tuple, at_least, at_most, between, count, each, finite, whole
from anymodal.data.config import CropConfig
from anymodal.errors import ConfigError, nearest
from anymodal.text import VALUE_NAMES
from anymodal.tokenizers.config import NoiseConfig, OverlapConfig, UNetConfig, UViTConfig
from anymodal.tokenizers.quantizers.config import QUANTIZERS
from anymodal.training.settings import WORKERS, TrainingSettings

SIZES = ("size", "latent", "codebooks")  # of a quantizer, settings of the modality


@attrs.frozen(kw_only=True)
class VocabularyConfig:
    """Size of a vocabulary: all ids, value tokens of each of v0..v3, sentinels; and words that stay whole.

    `kinds` are the numbers of value tokens of v0, v1, v2 and v3 where they differ.
    """

    size: int = attrs.field(default=30_000, validator=count())
    bins: int = attrs.field(default=1000, validator=count())
    kinds: tuple[int, ...] = attrs.field(default=(), validator=each(count()))
    sentinels: int = attrs.field(default=200, validator=[whole, at_least(0), at_most(MOST)])
    words: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if len(self.kinds) not in (0, VALUE_NAMES):
            raise ConfigError(f"vocabulary: kinds must be {VALUE_NAMES} numbers of at least 1, got {list(self.kinds)}")


@attrs.frozen(kw_only=True)
class PerceptualConfig:
    """A perceptual loss beside the loss of a tokenizer for pictures of three channels.

    network: a Hub repository or a folder, for example facebook/convnextv2-nano-22k-224 or facebook/dinov2-small.
    layers: numbers of the hidden states to compare, 0 for what enters the first layer; without any, the ends of the
        four quarters of the network.
    weight: of this loss beside the other, which has weight 1.
    size: pixels to which the sides of pictures are resized for the network; without it they stay as they are.
    """

    network: str
    layers: tuple[int, ...] = ()
    weight: float = attrs.field(default=1.0, validator=between(0, HEAVIEST, above=True))
    size: int | None = attrs.field(default=None, validator=optional([whole, at_least(1)]))


@attrs.frozen(kw_only=True)
class AdversarialConfig:
    """A critic that judges the pictures of a tokenizer, beside the loss; see `adversarial.py`. It learns with them.

    weight: of the critic's score beside the loss, which has weight 1.
    features: weight of the distance of the critic's features beside the loss.
    widths: channels of its convolutions, each of which halves the sides; more of them judge larger patches.
    """

    weight: float = attrs.field(default=0.01, validator=between(0, HEAVIEST, above=True))
    features: float = attrs.field(default=0.1, validator=between(0, HEAVIEST))
    widths: tuple[int, ...] = attrs.field(default=(32, 64, 96), converter=as_tuple, validator=each(count(), least=1))


@attrs.frozen(kw_only=True)
class ExpectedConfig:
    """Codes that a model expects of samples, in place of their own; see `expected.py`.

    model: as `anymodal.load` takes it; its ids of the modality are those of the tokenizer in `codes`.
    given: modalities in the data that it is given.
    share: of samples that get them; the others have their own codes.
    drawn: the largest share of its own ids that a sample loses; the model draws others in their place, all in one step,
        from those that stay and what it is given. Without it all codes are means.
    """

    model: str
    given: tuple[str, ...] = attrs.field(default=("rgb",), converter=as_tuple)
    share: float = attrs.field(default=0.5, validator=between(0, 1))
    drawn: float = attrs.field(default=0.0, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class TokenizerRun:
    """Trains the tokenizer of `modality` on `data`, or the vocabulary on its texts.

    `data` is an aligned folder or a folder of sharded tars, also behind an address such as s3://bucket/data.

    `settings` are the modality's; `encoder` and `decoder` give width (dim), depth and heads; `options` go to the
    tokenizer's config. `quantizer` takes the place of the modality's own: its `kind`, and settings of that kind
    (`anymodal.tokenizers.quantizers.config`) besides its sizes, which are the modality's. `loss` defaults to the
    modality's own; `perceptual` and `adversarial` add others to it. Pictures are the centered square, mirrored half of
    the time with `flip`, or a random `crop`. `sizes` are theirs in pixels, one drawn for each step; without them all
    have the modality's size.

    A decoder that denoises takes `unet` or `uvit`, and `noise`, in place of `decoder`. Decoders learn together with the
    encoder, or, with `codes`, for a trained tokenizer, whose encoder and codebook stay as they are, and so do ids.
    `overlap` puts convolutions behind a decoder of patches, which join these. `code_noise` is the most normal noise
    that codes get in the training of a feed-forward decoder, in units of their size, so that it learns to mend codes
    which do not fit each other. With `expected`, beside `codes`, it also learns from what a model expects of them.

    `start` is the folder of a trained tokenizer that goes on learning, with the settings it has where none are given;
    what the configuration says of its parts must be so, but for an `overlap` where it has none. The encoder and
    codebook learn too unless `codes` names the tokenizer they belong to, which may be the same.
    """

    modality: str
    data: str
    settings: dict[str, Any] = attrs.field(factory=dict)
    encoder: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None
    unet: UNetConfig | None = None
    uvit: UViTConfig | None = None
    noise: NoiseConfig = attrs.field(factory=NoiseConfig)
    overlap: OverlapConfig | None = None
    code_noise: float = attrs.field(default=0.0, validator=[finite, at_least(0)])
    codes: Path | None = None
    expected: ExpectedConfig | None = None
    start: Path | None = None
    quantizer: dict[str, Any] | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    training: TrainingSettings | None = None
    loss: str | None = None
    perceptual: PerceptualConfig | None = None
    adversarial: AdversarialConfig | None = None
    sizes: tuple[int, ...] = ()
    crop: CropConfig | None = None
    flip: bool = True
    workers: int = attrs.field(default=0, validator=WORKERS)
    vocabulary: VocabularyConfig | None = None

    def __attrs_post_init__(self) -> None:
        if self.quantizer is not None:
            _check_quantizer(self.quantizer)
        if self.expected is not None and self.codes is None:
            raise ConfigError("expected needs codes, the folder of the tokenizer whose ids the model knows")


def _check_quantizer(block: Mapping[str, Any]) -> None:
    """Raise ConfigError for a kind that does not exist, and for keys that it does not have."""
    known = [name for name in init_fields(QUANTIZERS[QUANTIZERS.name_of(block)]) if name not in SIZES]
    for key in block:
        if key in SIZES:
            raise ConfigError(f"quantizer: {key} is among the settings of the modality; give it there")
        if key not in (QUANTIZERS.tag, *known):
            kind = QUANTIZERS.name_of(block)
            raise ConfigError(
                f"quantizer: the kind {kind!r} has no {key!r}{nearest(key, known)}; it has {', '.join(known) or 'none'}"
            )
