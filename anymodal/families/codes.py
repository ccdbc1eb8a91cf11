"""Structured sequences that hold codes of a tokenizer: words for what words say well, codes for shapes and poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.families.codec import MOST_WIDTH, decoded, encoded
from anymodal.families.text import MOST_LEVELS, StructuredModality

if TYPE_CHECKING:
    import numpy as np

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np


class CodedModality(StructuredModality):
    """Parts of a value (the mask of an instance, the pose of a person) become `codes` ids each by `tokenizer`.

    In the text, id c of `codebook` is `v0=c` in its first half and `v1=c - codebook / 2` in the second (4M-21, arXiv
    2406.09406). With a `grid` (rows, columns) a part is a picture of `channels` cut into patches of `patch` pixels, and
    codes stand for patches; without it, a vector of `channels` numbers with one codebook for each of the codes.
    `parts` gives what the tokenizer learns from.
    """

    family: ClassVar[str] = "coded sequence"
    settings: ClassVar[tuple[str, ...]] = (*StructuredModality.settings, "codebook", "latent")
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = {"codebook": MOST_LEVELS, "latent": MOST_WIDTH}
    loss: ClassVar[str] = "mse"
    codes: ClassVar[int] = 16
    grid: ClassVar[tuple[int, int] | None] = None
    channels: ClassVar[int] = 1
    patch: ClassVar[int] = 16
    codebook: int = 1024
    latent: int = 1024

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        """The tokenizer of the parts: vision transformers with a grid, MLPs without."""
        from anymodal.tokenizers.config import MLPConfig, TokenizerConfig, ViTConfig
        from anymodal.tokenizers.quantizers.config import CosineConfig, ProductConfig

        if self.grid is None:
            return TokenizerConfig(
                kind="mlp",
                channels=self.channels,
                encoder=MLPConfig(**encoder),
                decoder=MLPConfig(**decoder),
                quantizer=ProductConfig(size=self.codebook, latent=self.latent, codebooks=self.codes),
                **options,
            )
        return TokenizerConfig(
            kind="vit",
            channels=self.channels,
            encoder=ViTConfig(patch=self.patch, **encoder),
            decoder=ViTConfig(patch=self.patch, **decoder),
            quantizer=CosineConfig(size=self.codebook, latent=self.latent),
            image_size=self.patch * self.grid[0],
            **options,
        )

    def encode_parts(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Ids (codes,) int64 of each part. Raises CheckpointError without a tokenizer, unless there are no parts."""
        return encoded(self, [tensor.astype(np.float32) for tensor in tensors]) if len(tensors) else []

    def decode_parts(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The tokenizer's float32 output for the ids (codes,) of each part; raises as `encode_parts`."""
        return decoded(self, [each.astype(np.int64) for each in ids], shape=self.grid) if len(ids) else []

    def spell_codes(self, ids: np.ndarray) -> list[str]:
        """Ids as words."""
        half = self.codebook // 2
        return [f"v0={c}" if c < half else f"v1={c - half}" for c in ids.tolist()]

    def read_codes(self, values: Sequence[tuple[int, int] | None]) -> np.ndarray | None:
        """Ids from what `parse_value` found, or None if they are not `codes` whole ones."""
        half = self.codebook // 2
        ids = [v + k * half for k, v in filter(None, values) if k < 2 and v < (half, self.codebook - half)[k]]
        return np.array(ids, np.int64) if len(ids) == len(values) == self.codes else None
