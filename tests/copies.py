"""Modalities that do what a family does without inheriting from it: what the library asks are capabilities."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import anymodal as am
from anymodal.families.codec import decoded, decoded_mean, encoded
from anymodal.families.drawing import text_page
from anymodal.files import naming, read_array, read_json, write_array, write_json
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig


class Tally(am.Modality):
    """Counts 0 to 99 by letter: a structured sequence of its own base."""

    family = "tally"
    spelled = True
    settings = ("length", "shared")
    suffixes = (".json",)
    length = 64
    shared = True

    def streams(self) -> tuple[am.Stream, ...]:
        if self.vocabulary is not None:
            return (am.Stream(self.name, self.name, self.vocabulary.space(self.length, self.shared)),)
        key = "text" if self.shared else None
        space = am.TokenSpace.sequence(30_000, self.length, sentinels=(4, 200), end=3, vocabulary=key)
        return (am.Stream(self.name, self.name, space),)

    def sampling(self, grounded: bool) -> am.Sampling:
        return am.Sampling(scheme="autoregressive", temperature=0.1, top_p=0.8)

    def accept(self, value: Any) -> dict[str, int]:
        if self.is_file(value):
            return self.from_file(value)
        if not isinstance(value, dict) or not all(len(k) == 1 and isinstance(v, int) for k, v in value.items()):
            raise self.problem(value, "counts by letter")
        return dict(value)

    def read(self, path: Path) -> dict[str, int]:
        with naming(path):
            return self.accept(read_json(path))

    def write(self, value: Any, path: Path) -> None:
        write_json(value, Path(path))

    def chunks(self, value: Any, rng: Any = None) -> list[str]:
        parts = [f"{letter} v0={count}" for letter, count in value.items()]
        return parts if rng is None else [parts[k] for k in rng.permutation(len(parts))]

    def spell(self, value: Any, rng: Any = None) -> str:
        return " ".join(self.chunks(value, rng))

    def parse(self, text: str) -> dict[str, int]:
        pairs = pairwise(text.split())
        return {k: int(v[3:]) for k, v in pairs if k.isalpha() and len(k) == 1 and re.fullmatch(r"v0=[0-9]{1,2}", v)}

    def tokenize(self, values: list[Any], rng: Any = None) -> dict[str, list[np.ndarray]]:
        encode, end = self.vocabulary.encode, self.vocabulary.end
        return {self.name: [np.append(encode(self.spell(v, rng)), end)[: self.length] for v in values]}

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        return [self.parse(self.vocabulary.decode(ids)) for ids in tokens]

    def other_tokens(self, stored: Any) -> str:
        return super().other_tokens({k: v for k, v in stored.items() if k not in self.settings})

    def show(self, value: Any, size: int = 256) -> Any:
        return text_page(self.spell(value), size)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"same": float(np.mean([p == t for p, t in zip(predictions, truths, strict=True)]))}

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"empty": {}, "two": {"a": 3, "b": 40}, "many": {letter: int(rng.integers(99)) for letter in "abcdefgh"}}


class Heat(am.Modality):
    """Heat of 0 to 100 degrees over the picture: a grid of its own base."""

    family = "heat"
    is_picture = True
    aligned = True
    settings = ("size", "patch", "codebook", "latent", "larger")
    suffixes = (".npy",)
    loss = "mse"
    channels = 1
    size, patch, codebook, latent = 224, 16, 1024, 32
    larger: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.size, *self.larger)

    @property
    def file_range(self) -> tuple[float, float]:
        return 0.0, 100.0

    def streams(self) -> tuple[am.Stream, ...]:
        side = self.size // self.patch
        return (am.Stream(self.name, self.name, am.TokenSpace.grid(self.codebook, side, side)),)

    def accept(self, value: Any) -> np.ndarray:
        if isinstance(value, (str, Path)):
            return self.read(Path(value))
        array = np.asarray(value)
        if array.dtype.kind not in "buif" or array.ndim != 2 or 0 in array.shape:
            raise self.problem(value, "numbers of shape (H, W)")
        return array.astype(np.float32)

    def read(self, path: Path) -> np.ndarray:
        with naming(path):
            return self.accept(read_array(Path(path)))

    def write(self, value: Any, path: Path) -> None:
        write_array(np.asarray(value), Path(path))

    def extent(self, value: Any) -> tuple[float, float]:
        return float(value.shape[1]), float(value.shape[0])

    def crop(self, value: Any, crop: am.Crop) -> np.ndarray:
        height, width = value.shape
        right, bottom = (crop.left + crop.width) * width, (crop.top + crop.height) * height
        box = crop.left * width, crop.top * height, min(right, width), min(bottom, height)
        picture = Image.fromarray(np.ascontiguousarray(value, np.float32))
        if box != (0, 0, self.size, self.size):
            picture = picture.resize((self.size, self.size), Image.Resampling.BICUBIC, box)
        cut = np.array(picture)
        return np.ascontiguousarray(cut[:, ::-1]) if crop.flip else cut

    def preprocess(self, value: Any) -> np.ndarray:
        degrees = np.nan_to_num(np.asarray(value, np.float32), nan=0.0, posinf=100.0, neginf=0.0)
        return (degrees.clip(0, 100) / 50 - 1)[None]

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return ((np.clip(tensor[0], -1, 1) + 1) * 50).astype(np.float32)

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        sides = (ViTConfig(patch=self.patch, **each) for each in (encoder, decoder))
        codes = CosineConfig(size=self.codebook, latent=self.latent)
        return TokenizerConfig("vit", self.channels, *sides, codes, image_size=self.size, **options)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {self.name: encoded(self, [self.preprocess(value) for value in values])}

    def stream_tensor(self, tensors: torch.Tensor, stream: str) -> torch.Tensor:
        return self.tokenizer.encode(tensors)

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        return [self.postprocess(t) for t in decoded(self, tokens, shape=self.streams()[0].space.shape)]

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        return [self.postprocess(t) for t in decoded_mean(self, probabilities, shape=self.streams()[0].space.shape)]

    def show(self, value: Any, size: int = 256) -> Any:
        gray = (np.nan_to_num(np.asarray(value, np.float32)).clip(0, 100) * 2.55).astype(np.uint8)
        return Image.fromarray(gray).convert("RGB").resize((size, size))

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"mae": float(np.mean([np.abs(p - t).mean() for p, t in zip(predictions, truths, strict=True)]))}


# What each says of itself, and is not.


class Written(Tally):
    """Counts 0 to 99 by letter; not said to be spelled."""

    spelled = False


class Ordered(Tally):
    """Counts 0 to 99 by letter; tokens are always in one order."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:  # type: ignore[override]
        return super().tokenize(values)


class Called(Tally):
    """Counts 0 to 99 by letter, said to be text."""

    is_text = True


class Silent(Heat):
    """Heat of 0 to 100 degrees, said to be spelled."""

    spelled = True


class Colored(Heat):
    """Heat of 0 to 100 degrees, of three channels as the class says."""

    channels = 3


class Fixed(Heat):
    """Heat of 0 to 100 degrees; has one size, whatever is asked for."""

    def at_size(self, size: int) -> Fixed:
        return type(self)(**self.config())


class Unrecorded(Heat):
    """Heat of 0 to 100 degrees; a checkpoint does not record its size."""

    settings = ("patch", "codebook", "latent")


class Narrow(Heat):
    """Heat of 0 to 100 degrees; files are said to hold less."""

    @property
    def file_range(self) -> tuple[float, float]:
        return 0.0, 50.0

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"hot": np.full((self.size, self.size), 90, np.float32)}


class Backwards(Heat):
    """Heat of 0 to 100 degrees; the range of files is upside down."""

    @property
    def file_range(self) -> tuple[float, float]:
        return 100.0, 0.0

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"hot": np.full((self.size, self.size), 90, np.float32)}


class Distrustful(Tally):
    """Counts 0 to 99 by letter; refuses its own tokens."""

    def other_tokens(self, stored: Any) -> str:
        return "whatever they are" if json.dumps(stored) else ""


class Misnamed(Tally):
    """Counts 0 to 99 by letter; a member is listed by another name."""

    members = {"letters": Tally()}


class Elsewhere(Heat):
    """Heat of 0 to 100 degrees; tensors become other tokens than values."""

    def stream_tensor(self, tensors: torch.Tensor, stream: str) -> torch.Tensor:
        return (self.tokenizer.encode(tensors) + 1) % self.codebook


class Half(Heat):
    """Heat of 0 to 100 degrees; says in a word what is true or false."""

    is_picture = "yes"  # type: ignore[assignment]


UNTRUE = {
    "spelled": (Written, "it has spell, parse and chunks, and spelled is false"),
    "rng": (Ordered, "spell draws from an rng, and tokenize takes none"),
    "text": (Called, "is_text is true, and example 'empty' of seed 0 is a value of type dict"),
    "no spell": (Silent, "spelled is true, and there is no spell and no parse and no chunks"),
    "channels": (Colored, "is_picture is true, and the tensor of example"),
    "size": (Fixed, "at_size(64) has the sizes (32,)"),
    "setting": (Unrecorded, "it has sizes, and no setting 'size'"),
    "range": (Narrow, "file_range is (0.0, 50.0), and example 'hot' of seed 0, shape (32, 32) reaches from 90 to 90"),
    "order": (Backwards, "not two finite numbers, the lower first"),
    "tokens": (Distrustful, "other_tokens refuses tokens made with its own settings"),
    "members": (Misnamed, "the member 'letters' is the modality 'tally'"),
    "tensors": (Elsewhere, "stream_tensor gives other tokens of 'elsewhere' than condition does"),
    "flag": (Half, "is_picture is 'yes', neither true nor false"),
}
