"""What a tokenizer is made of: this file decides the fields of a tokenizer's config and what they may hold.

A config names no preset and holds only JSON values, so ``attrs.asdict(config)`` is what a checkpoint stores. One that
cannot be built is refused here, with a `ConfigError`, before any weight is allocated.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field, frozen

from anymodal.config.validators import a, as_tuple, at_least, count, each, finite, one_of
from anymodal.errors import ConfigError
from anymodal.spaces import LARGEST_TABLE
from anymodal.tokenizers.quantizers.config import QuantizerConfig

GROUPS = 32  # of all group norms
SHIFTED = "shifted_cosine"
SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
PREDICTIONS = ("sample", "epsilon", "v_prediction")
CONDITIONINGS = ("concat", "xattn")
SOLVERS = ("ddim", "ddpm", "dpm++")
DEEPEST, MOST_LEVELS = 1000, 16
DEEP = count(DEEPEST)  # blocks one after the other: more is a damaged file


def _refuse(owner: Any, reason: str) -> None:
    raise ConfigError(f"{type(owner).__name__}: {reason}.")


def _check_depth(owner: Any, blocks: int, levels: tuple[int, ...]) -> None:
    if len(levels) > MOST_LEVELS or blocks * len(levels) > DEEPEST:
        _refuse(owner, f"{len(levels)} levels of {blocks} blocks are more than {MOST_LEVELS}, or {DEEPEST} blocks")


def _check_table(owner: Any, name: str, side: int, dim: int) -> None:
    """Refuse a table of positions, which no file of weights holds, that is larger than any network needs."""
    if side * side * dim > LARGEST_TABLE:
        _refuse(owner, f"{name} makes a table of {side} x {side} positions of width {dim}, which is too large")


@frozen
class ViTConfig:
    """A vision transformer on one side of the codebook.

    dim, depth, heads: width, number of blocks, attention heads (dim is a multiple of heads and of 4).
    patch: side of a patch in pixels, or, without `patch_projection`, the pixels that one cell of a feature map stands
        for (used only to size the position table).
    patch_projection: whether the input (output) is cut into patches; False for feature maps, one token per cell.
    post_mlp: whether a final tanh MLP stands between the blocks and the projection.
    expansion: width inside the MLPs, in units of dim.
    """

    dim: int = field(validator=count())
    depth: int = field(validator=DEEP)
    heads: int = field(validator=count())
    patch: int = field(validator=count())
    patch_projection: bool = True
    post_mlp: bool = True
    expansion: int = field(default=4, validator=count())

    def __attrs_post_init__(self) -> None:
        if self.dim % self.heads:
            _refuse(self, f"dim {self.dim} does not split into {self.heads} heads; choose a multiple")
        if self.dim % 4:
            _refuse(self, f"dim is {self.dim}; the 2-D position table needs a multiple of 4")

    @property
    def stacked(self) -> int:
        """Blocks one after the other, at least so many."""
        return self.depth

    @property
    def stride(self) -> int:
        """Pixels (or cells) per token along one axis."""
        return self.patch if self.patch_projection else 1


@frozen
class OverlapConfig:
    """Convolutions behind a decoder of patches, through which pixels see the patches beside their own.

    widths: channels at each doubling of the grid of tokens, on its way to pixels; the last convolution makes what is
        then left of a patch.
    """

    widths: tuple[int, ...] = field(converter=as_tuple, validator=each(count(), least=1))


@frozen
class MLPConfig:
    """A residual MLP on one side of the codebook, for vectors: `blocks` of width -> expansion * width -> width."""

    width: int = field(validator=count())
    blocks: int = field(validator=DEEP)
    expansion: int = field(default=4, validator=count())

    @property
    def stacked(self) -> int:
        """Blocks one after the other, at least so many."""
        return self.blocks


@frozen
class UNetConfig:
    """A convolutional denoiser on patches (ADM, Dhariwal & Nichol 2021), told the codes by concatenation.

    patch: side in pixels of the patches that become the channels of its finest level.
    channels, multipliers: width of level k is channels * multipliers[k]; each level has half the side of the last.
    blocks: residual blocks of a level on the way down; one more on the way up.
    attention: factors of down-sampling, from the finest level's grid, at which every block is followed by attention.
    """

    patch: int = field(validator=count())
    channels: int = field(validator=count())
    multipliers: tuple[int, ...] = field(converter=as_tuple, validator=each(count(), least=1))
    blocks: int = field(validator=DEEP)
    attention: tuple[int, ...] = field(default=(), converter=as_tuple, validator=each(count()))

    def __attrs_post_init__(self) -> None:
        _check_depth(self, self.blocks, self.multipliers)
        if self.channels % GROUPS:
            _refuse(self, f"channels is {self.channels}; group norms need a multiple of {GROUPS}")

    @property
    def stacked(self) -> int:
        """Blocks one after the other, at least so many."""
        return self.blocks * len(self.multipliers)

    @property
    def multiple(self) -> int:
        """What the sides of a picture must be a multiple of, in pixels."""
        return self.patch * 2 ** (len(self.multipliers) - 1)


@frozen
class UViTConfig:
    """A denoiser of convolutions around a transformer that is told the codes (simple diffusion, Hoogeboom et al. 2023).

    patch: side in pixels of the patches that the first convolution reads.
    widths: channels of the convolutional levels; each level has half the side of the one before.
    blocks: residual blocks of a level on the way down; one more on the way up.
    dim, depth, heads, expansion: of the transformer in the middle.
    halved: whether the grid is halved once more on its way to the transformer.
    side: of the square for which the transformer's position table is laid out; it is resized to the grid at hand.
    conditioning: how the transformer is told the codes: "concat", added to its tokens where they lie, or "xattn", by
        cross attention of every block.
    """

    patch: int = field(validator=count())
    widths: tuple[int, ...] = field(converter=as_tuple, validator=each(count(), least=1))
    blocks: int = field(validator=DEEP)
    dim: int = field(validator=count())
    depth: int = field(validator=DEEP)
    heads: int = field(validator=count())
    expansion: int = field(default=4, validator=count())
    halved: bool = True
    side: int = field(default=32, validator=count())
    conditioning: Literal["concat", "xattn"] = field(default="concat", validator=one_of(*CONDITIONINGS))

    def __attrs_post_init__(self) -> None:
        _check_depth(self, self.blocks, self.widths)
        _check_table(self, "side", self.side, self.dim)
        if any(width % GROUPS for width in self.widths):
            _refuse(self, f"widths are {self.widths}; group norms need multiples of {GROUPS}")
        if self.dim % self.heads or self.dim % 4:
            _refuse(self, f"dim {self.dim} is no multiple of 4 and of {self.heads} heads; choose another")

    @property
    def stacked(self) -> int:
        """Blocks one after the other, at least so many."""
        return self.blocks * len(self.widths) + self.depth

    @property
    def multiple(self) -> int:
        """Pixels per token of the transformer along one axis; the sides of a picture must be a multiple of it."""
        return self.patch * 2 ** (len(self.widths) - 1 + self.halved)


@frozen
class NoiseConfig:
    """How pictures become noise and back (Ho et al. 2020); see `noise.py` and `solvers.py`.

    schedule: "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid" or "shifted_cosine:SHIFT".
    prediction: what the decoder puts out: the clean "sample", the noise "epsilon", or the velocity "v_prediction".
    clip: whether predicted pictures are cut to [-1, 1]; threshold: whether they are cut at their 99.5 % quantile, taken
        between 1 and `ceiling`, and scaled back into [-1, 1] (Imagen, Saharia et al. 2022, section 2.3).
    zero_terminal: whether the last step is pure noise (Lin et al. 2023); a shifted cosine always ends in it.
    solver: "ddim", "ddpm" or "dpm++", what decoding uses unless told otherwise.
    """

    schedule: str = "linear"
    prediction: Literal["sample", "epsilon", "v_prediction"] = field(default="sample", validator=one_of(*PREDICTIONS))
    timesteps: int = field(default=1000, validator=[count(10**5), at_least(2)])
    zero_terminal: bool = True
    clip: bool = True
    threshold: bool = False
    ceiling: float = field(default=1.0, validator=[at_least(1), finite])
    solver: Literal["ddim", "ddpm", "dpm++"] = field(default="ddim", validator=one_of(*SOLVERS))

    def __attrs_post_init__(self) -> None:
        name, _, shift = self.schedule.partition(":")
        if name == SHIFTED:
            _refuse_shift(self, shift)
        elif self.schedule not in SCHEDULES:
            _refuse(self, f"schedule is {self.schedule!r}; give one of {', '.join(SCHEDULES)} or '{SHIFTED}:0.5'")


def _refuse_shift(owner: NoiseConfig, text: str) -> None:
    try:
        shift = float(text)
    except ValueError:
        shift = 0.0
    if not 0 < shift < float("inf"):
        _refuse(owner, f"schedule is {owner.schedule!r}; the shift must be a positive number, as in '{SHIFTED}:0.5'")


@frozen
class TokenizerConfig:
    """Encoder, codebook and decoder of one modality.

    kind: "vit" for images, label maps and feature maps; "mlp" for vectors.
    channels: channels of the input; for label maps, the width in which labels are embedded.
    image_size: side in pixels at which the position tables are laid out; other sizes are reached by resizing them.
    labels: number of classes of a label map; the decoder then yields one logit per label instead of `channels` values.
    refine: whether two ConvNeXt blocks polish the decoder's output.
    noise: of a decoder that denoises (`UNetConfig`, `UViTConfig`); None for the others.
    encoder_size: side at which the encoder's position table is laid out, where that is not `image_size`.
    overlap: of convolutions that join the patches of a ViT decoder; None where patches stay as they are.
    """

    kind: Literal["vit", "mlp"] = field(validator=one_of("vit", "mlp"))
    channels: int = field(validator=count())
    encoder: ViTConfig | MLPConfig
    decoder: ViTConfig | MLPConfig | UNetConfig | UViTConfig
    quantizer: QuantizerConfig = field(validator=a(QuantizerConfig, "the settings of a quantizer"))
    image_size: int = field(default=224, validator=count())
    labels: int | None = field(default=None, validator=attrs.validators.optional(count()))
    refine: bool = False
    noise: NoiseConfig | None = None
    encoder_size: int | None = field(default=None, validator=attrs.validators.optional(count()))
    overlap: OverlapConfig | None = None

    def __attrs_post_init__(self) -> None:
        if (self.noise is not None) != isinstance(self.decoder, UNetConfig | UViTConfig):
            _refuse(self, "noise belongs to a decoder that denoises (UNetConfig, UViTConfig), and to no other")
        if self.overlap is not None:
            self._check_overlap(self.overlap)
        if self.kind == "mlp":
            self._check_vectors()
        else:
            self._check_grid()

    def _check_vectors(self) -> None:
        for side in (self.encoder, self.decoder):
            if not isinstance(side, MLPConfig):
                _refuse(self, f"kind 'mlp' is made of MLPConfig, not {type(side).__name__}")
        if self.labels is not None or self.refine:
            _refuse(self, "labels and refine belong to kind 'vit'; vectors have neither")

    def _check_overlap(self, overlap: OverlapConfig) -> None:
        decoder = self.decoder
        if not isinstance(decoder, ViTConfig) or not decoder.patch_projection:
            _refuse(self, "overlap joins the patches of a ViTConfig with patch_projection; this decoder has none")
        elif len(overlap.widths) > MOST_LEVELS or decoder.patch % 2 ** len(overlap.widths):
            doubled = 2 ** min(len(overlap.widths), MOST_LEVELS)
            _refuse(
                self, f"overlap doubles the grid to {doubled} cells a patch, and a patch has {decoder.patch} pixels"
            )

    def _check_grid(self) -> None:
        encoder, decoder = self.encoder, self.decoder
        for side in (encoder, decoder):
            if isinstance(side, MLPConfig):
                _refuse(self, "kind 'vit' is made of ViTConfig, not MLPConfig")
        for side, size in ((encoder, self.encoder_size or self.image_size), (decoder, self.image_size)):
            if isinstance(side, ViTConfig) and size % side.patch:
                _refuse(self, f"image_size {size} is no multiple of the patch {side.patch}")
            if isinstance(side, ViTConfig):
                _check_table(self, f"image_size {size}", size // side.patch, side.dim)
        if self.noise is not None and (self.labels is not None or self.refine):
            _refuse(self, "labels and refine belong to feed-forward decoders; a denoiser has neither")
        if self.noise is not None and isinstance(encoder, ViTConfig) and not encoder.patch_projection:
            _refuse(self, "a denoiser decodes pictures; feature maps (patch_projection off) need a ViTConfig")


def plain_config(modality: Any, width: int, depth: int = 1, heads: int = 2) -> TokenizerConfig:
    """A small tokenizer that fits a modality: transformers of that width and depth, or MLPs where it has vectors."""
    try:
        made: TokenizerConfig = modality.tokenizer_config(*[{"dim": width, "depth": depth, "heads": heads}] * 2)
    except TypeError:  # networks of vectors have other settings
        made = modality.tokenizer_config(*[{"width": width, "blocks": depth}] * 2)
    return made
