"""What a tokenizer is made of, in numbers: this file decides the fields of a tokenizer's config and what they may hold.

A config names no preset and holds only JSON values, so ``attrs.asdict(config)`` is what a checkpoint stores. One that
cannot be built is refused here, with a `ConfigError`, before any weight is allocated.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field, frozen

from anymodal.errors import ConfigError


def _positive(owner: Any, attribute: attrs.Attribute[Any], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(owner, f"{attribute.name} is {value!r}; give a whole number of at least 1")


def _refuse(owner: Any, reason: str) -> None:
    raise ConfigError(f"{type(owner).__name__}: {reason}.")


@frozen
class ViTConfig:
    """A vision transformer on one side of the codebook.

    dim, depth, heads: width, number of blocks, attention heads (dim is a multiple of heads and of 4).
    patch: side of a patch in pixels, or, without `patch_projection`, the pixels that one cell of a feature map stands
        for (used only to size the position table).
    patch_projection: whether the input (output) is cut into patches; False for feature maps, one token per cell.
    post_mlp: whether a final tanh MLP stands between the blocks and the projection.
    """

    dim: int = field(validator=_positive)
    depth: int = field(validator=_positive)
    heads: int = field(validator=_positive)
    patch: int = field(validator=_positive)
    patch_projection: bool = True
    post_mlp: bool = True

    def __attrs_post_init__(self) -> None:
        if self.dim % self.heads:
            _refuse(self, f"dim {self.dim} does not split into {self.heads} heads; choose a multiple")
        if self.dim % 4:
            _refuse(self, f"dim is {self.dim}; the 2-D position table needs a multiple of 4")

    @property
    def stride(self) -> int:
        """Pixels (or cells) per token along one axis."""
        return self.patch if self.patch_projection else 1


@frozen
class MLPConfig:
    """A residual MLP on one side of the codebook, for vectors: `blocks` of width -> expansion * width -> width."""

    width: int = field(validator=_positive)
    blocks: int = field(validator=_positive)
    expansion: int = field(default=4, validator=_positive)


@frozen
class QuantizerConfig:
    """A codebook: `size` codes of `latent` numbers.

    kind: "cosine", one codebook searched by cosine similarity; "product", the latent cut into `codebooks` parts, each
        with `size` codes of its own, so that one latent becomes `codebooks` ids.
    """

    kind: Literal["cosine", "product"]
    size: int = field(validator=_positive)
    latent: int = field(validator=_positive)
    codebooks: int = field(default=1, validator=_positive)

    def __attrs_post_init__(self) -> None:
        if self.kind not in ("cosine", "product"):
            _refuse(self, f"kind is {self.kind!r}; give 'cosine' or 'product'")
        if self.kind == "cosine" and self.codebooks != 1:
            _refuse(self, f"a cosine quantizer has one codebook, not {self.codebooks}; use kind 'product' for several")
        if self.latent % self.codebooks:
            _refuse(self, f"latent {self.latent} does not split into {self.codebooks} codebooks; choose a multiple")


@frozen
class TokenizerConfig:
    """Encoder, codebook and decoder of one modality.

    kind: "vit" for images, label maps and feature maps; "mlp" for vectors.
    channels: channels of the input; for label maps, the width in which labels are embedded.
    image_size: side in pixels at which the position tables are laid out; other sizes are reached by resizing them.
    labels: number of classes of a label map; the decoder then yields one logit per label instead of `channels` values.
    refine: whether two ConvNeXt blocks polish the decoder's output.
    """

    kind: Literal["vit", "mlp"]
    channels: int = field(validator=_positive)
    encoder: ViTConfig | MLPConfig
    decoder: ViTConfig | MLPConfig
    quantizer: QuantizerConfig
    image_size: int = field(default=224, validator=_positive)
    labels: int | None = field(default=None, validator=attrs.validators.optional(_positive))
    refine: bool = False

    def __attrs_post_init__(self) -> None:
        if self.kind not in ("vit", "mlp"):
            _refuse(self, f"kind is {self.kind!r}; give 'vit' or 'mlp'")
        part = ViTConfig if self.kind == "vit" else MLPConfig
        for side in (self.encoder, self.decoder):
            if not isinstance(side, part):
                _refuse(self, f"kind {self.kind!r} is made of {part.__name__}, not {type(side).__name__}")
            if isinstance(side, ViTConfig) and self.image_size % side.patch:
                _refuse(self, f"image_size {self.image_size} is no multiple of the patch {side.patch}")
        if self.kind == "mlp" and (self.labels is not None or self.refine):
            _refuse(self, "labels and refine belong to kind 'vit'; vectors have neither")
