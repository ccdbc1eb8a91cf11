"""Vectors: one for the whole picture, tokenized by an MLP and a product of codebooks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.families.arrays import ArrayModality
from anymodal.families.codec import MOST_CODEBOOKS, MOST_WIDTH, decoded, decoded_mean, encoded
from anymodal.families.drawing import paper
from anymodal.families.features import cosine_similarity, finite
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np

CELLS = 256  # of a picture of a vector
POSITIVE, ZERO, NEGATIVE = (190, 45, 50), (240, 238, 233), (40, 95, 170)


class VectorModality(ArrayModality):
    """Values are float32 arrays (channels,); files are .npy arrays of them.

    The vector becomes `codebooks` tokens of `codebook` ids each, whose positions are learned. Vectors stand for the
    whole picture: crops and flips leave them alone. Tensors are (channels,); what is not finite becomes 0.
    """

    family: ClassVar[str] = "vector"
    settings: ClassVar[tuple[str, ...]] = ("channels", "codebooks", "codebook", "latent")
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = {
        "channels": MOST_WIDTH,
        "latent": MOST_WIDTH,
        "codebooks": MOST_CODEBOOKS,
    }
    suffixes: ClassVar[tuple[str, ...]] = (".npy",)
    loss: ClassVar[str] = "cosine"
    channels: int = 768
    codebooks: int = 16
    codebook: int = 8192
    latent: int = 1024

    def streams(self) -> tuple[Stream, ...]:
        return (Stream(self.name, self.name, TokenSpace(self.codebook, self.codebooks, learned=True)),)

    def sampling(self, grounded: bool) -> Sampling:
        """All tokens in one step, as for retrieval."""
        return Sampling(scheme="roar", steps=1, temperature=0.1, top_p=0.8)

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        """The tokenizer that fits the modality's numbers, with the given widths and blocks."""
        from anymodal.tokenizers.config import MLPConfig, TokenizerConfig
        from anymodal.tokenizers.quantizers.config import ProductConfig

        return TokenizerConfig(
            kind="mlp",
            channels=self.channels,
            encoder=MLPConfig(**encoder),
            decoder=MLPConfig(**decoder),
            quantizer=ProductConfig(size=self.codebook, latent=self.latent, codebooks=self.codebooks),
            **options,
        )

    @property
    def expected(self) -> str:
        return f"a vector of shape ({self.channels},)"

    def fits(self, shape: tuple[int, ...]) -> bool:
        return shape == (self.channels,)

    def preprocess(self, value: Any) -> np.ndarray:
        return finite(value).astype(np.float32)

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return np.array(tensor, np.float32)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {self.name: encoded(self, [self.preprocess(v) for v in values])}

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        return [self.postprocess(o) for o in decoded(self, tokens)]

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        return [self.postprocess(o) for o in decoded_mean(self, probabilities)]

    def show(self, value: Any, size: int = 256) -> Image:
        """A cell a channel, row by row (means of neighbors where there are many): red above 0, blue below, as `legend`.

        Two vectors that point the same way have the same pattern.
        """
        from PIL import ImageDraw

        cells = cells_of(finite(value))
        share = cells / max(float(np.abs(cells).max()), 1e-12)
        side = math.ceil(math.sqrt(len(cells)))
        scale, gap = size / side, 0.06 * size / side
        picture = paper(size)
        draw = ImageDraw.Draw(picture)
        for k, strength in enumerate(share.tolist()):
            x, y = k % side * scale, k // side * scale
            draw.rectangle((x + gap, y + gap, x + scale - gap - 1, y + scale - gap - 1), fill=signed_color(strength))
        return picture

    def legend(self, value: Any) -> list[tuple[tuple[int, int, int] | None, str]]:
        most = float(np.abs(cells_of(finite(value))).max())
        return [(signed_color(1), f"{most:.3g}"), (signed_color(0), "0"), (signed_color(-1), f"{-most:.3g}")]

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean cosine similarity."""
        pairs = zip(predictions, truths, strict=True)
        cosines = [cosine_similarity(finite(p), finite(t)) for p, t in pairs]
        return {"cosine": float(np.mean(cosines))}


def cells_of(vector: np.ndarray) -> np.ndarray:
    """What is drawn of a vector (channels,): all channels, or `CELLS` means of neighbors where there are more."""
    return np.array([part.mean() for part in np.array_split(vector, min(CELLS, len(vector)))])


def signed_color(strength: float) -> tuple[int, int, int]:
    """The color of a number from -1 to 1: blue, nearly white at 0, red; stronger the further from 0."""
    end = POSITIVE if strength > 0 else NEGATIVE
    red, green, blue = (round(z + (e - z) * min(abs(strength), 1) ** 0.8) for z, e in zip(ZERO, end, strict=True))
    return red, green, blue
