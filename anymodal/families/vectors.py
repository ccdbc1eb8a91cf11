"""Vectors: one for the whole picture, tokenized by an MLP and a product of codebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.families.arrays import ArrayModality
from anymodal.families.codec import decoded, encoded
from anymodal.families.features import cosine_similarity, finite
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np

PETALS = 96


class VectorModality(ArrayModality):
    """Values are float32 arrays (channels,); files are .npy arrays of them.

    The vector becomes `codebooks` tokens of `codebook` ids each, whose positions are learned. Vectors stand for the
    whole picture: crops and flips leave them alone. Tensors are (channels,); what is not finite becomes 0.
    """

    family: ClassVar[str] = "vector"
    settings: ClassVar[tuple[str, ...]] = ("channels", "codebooks", "codebook", "latent")
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

    def show(self, value: Any, size: int = 256) -> Image:
        """A flower: neighboring channels are averaged into petals, longer outside for more and inside for less."""
        from PIL import Image, ImageDraw

        vector = finite(value)
        petals = np.array([part.mean() for part in np.array_split(vector, min(PETALS, len(vector)))])
        reach = (petals - np.median(petals)) / max(float(np.abs(petals - np.median(petals)).max()), 1e-12)
        scale, middle = 4, size * 2
        picture = Image.new("RGB", (size * scale, size * scale), (18, 18, 24))
        draw = ImageDraw.Draw(picture)
        for number in np.argsort(-reach):
            radius = middle * (0.55 + 0.4 * float(reach[number]))
            start, step = 360 * number / len(petals) - 90, 360 / len(petals)
            box = (middle - radius, middle - radius, middle + radius, middle + radius)
            draw.pieslice(box, start + 0.1 * step, start + 0.9 * step, fill=_petal(number / len(petals), reach[number]))
        hole = middle * 0.1
        draw.ellipse((middle - hole, middle - hole, middle + hole, middle + hole), fill=(18, 18, 24))
        return picture.resize((size, size), Image.Resampling.LANCZOS)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean cosine similarity."""
        pairs = zip(predictions, truths, strict=True)
        cosines = [cosine_similarity(finite(p), finite(t)) for p, t in pairs]
        return {"cosine": float(np.mean(cosines))}


def _petal(turn: float, reach: float) -> tuple[int, int, int]:
    """The color of a petal: hue by its place on the circle, lighter where it is longer."""
    import colorsys

    red, green, blue = colorsys.hls_to_rgb(turn, 0.52 + 0.2 * reach, 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)
