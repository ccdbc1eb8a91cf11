"""Modalities with a planted defect each, and the rules of conformance that are meant for them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

import anymodal as am
from anymodal.families import EmbeddingModality


class Thermal(am.ImageModality):
    """Long-wave infrared, kelvin."""

    channels, low, high = 1, 233.0, 393.0


class Channel(Thermal):
    """Forgets the axis of channels."""

    def preprocess(self, value: Any) -> np.ndarray:
        return super().preprocess(value)[0]


class Raw(Thermal):
    """Gives the tokenizer kelvin, as far as they go."""

    def preprocess(self, value: Any) -> np.ndarray:
        return (10 * np.asarray(value, np.float32))[None]


class Celsius(Thermal):
    """Comes back in another unit."""

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return super().postprocess(tensor) - 273.15


class Greedy(Thermal):
    """Writes into what it is given."""

    def preprocess(self, value: Any) -> np.ndarray:
        value -= 1
        return super().preprocess(value)


class Dithered(Thermal):
    """Adds noise that is another one every time."""

    def preprocess(self, value: Any) -> np.ndarray:
        noise = np.random.default_rng().random(np.shape(value), np.float32) / 1000
        return np.clip(super().preprocess(value) + noise, -1, 1)


class Noisy(Thermal):
    """Draws from the random numbers of everybody."""

    def preprocess(self, value: Any) -> np.ndarray:
        np.random.rand()
        return super().preprocess(value)


class Gap(Thermal):
    """Lets NaN through."""

    def preprocess(self, value: Any) -> np.ndarray:
        return (2 * (np.asarray(value, np.float32) - self.low) / (self.high - self.low) - 1)[None]


class Pathless(Thermal):
    """Takes arrays and paths, and no str."""

    def accept(self, value: Any) -> Any:
        return self._checked(value) if isinstance(value, (str, np.ndarray)) else super().accept(value)


class Void(Thermal):
    """Takes arrays without a pixel."""

    def accept(self, value: Any) -> Any:
        return value if isinstance(value, np.ndarray) else super().accept(value)


class Lenient(Thermal):
    """Takes anything."""

    def accept(self, value: Any) -> Any:
        return value


class Shifted(Thermal):
    """Reads files with another offset than it writes them."""

    def read(self, path: Path) -> np.ndarray:
        return super().read(path) + 5


class Trusting(Thermal):
    """Gives an empty picture for a file that it cannot read."""

    def read(self, path: Path) -> np.ndarray:
        try:
            return super().read(path)
        except ValueError:
            return np.full((8, 8), self.low, np.float32)


class Unsaid(Thermal):
    """How warm things are."""


class Rounding(Thermal):
    """Rounds what it is given."""

    def accept(self, value: Any) -> Any:
        return np.round(super().accept(value))


class Wide(Thermal):
    """Says that it has more positions than it has."""

    def streams(self) -> tuple[am.Stream, ...]:
        return (am.Stream(self.name, self.name, am.TokenSpace(self.codebook, self.side**2 + 1)),)


class Overflow(Thermal):
    """Counts ids from the end."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {name: [ids + self.codebook for ids in rows] for name, rows in super().tokenize(values).items()}


class Learner(Thermal):
    """Has as many ids as it has seen values."""

    seen = 0

    def accept(self, value: Any) -> Any:
        Learner.seen += 1
        return super().accept(value)

    def streams(self) -> tuple[am.Stream, ...]:
        return (am.Stream(self.name, self.name, am.TokenSpace.grid(self.codebook + self.seen, self.side, self.side)),)


class Scaled(Thermal):
    """Has more ids for larger pictures."""

    def streams(self) -> tuple[am.Stream, ...]:
        size = self.codebook if self.size <= 32 else 2 * self.codebook
        return (am.Stream(self.name, self.name, am.TokenSpace.grid(size, self.side, self.side)),)


class Double(Thermal):
    """Decodes to another type than it takes."""

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return super().postprocess(tensor).astype(np.float64)


class Neighbors(Thermal):
    """Scales by what else is in the batch."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return super().tokenize([v - np.mean(values) + 300 for v in values])


class Brittle(am.TextModality):
    """Text without brackets, and with nothing else if there is one."""

    def parse(self, text: str) -> str:
        if "[" in text or not text.isascii() or len(text.split()) > 20:
            raise RuntimeError("unexpected bracket")
        return text


class Unknown(Thermal):
    """Asks for a loss that there is not."""

    loss = "best"


class Unportable(Thermal):
    """Leaves PyTorch on the way to ids."""

    @property
    def tokenizer(self) -> Any:
        return super().tokenizer

    @tokenizer.setter
    def tokenizer(self, value: Any) -> None:
        am.Modality.tokenizer.fset(self, value)  # type: ignore[attr-defined]
        if value is not None:
            value.encoder.register_forward_hook(detour)


def detour(module: torch.nn.Module, given: Any, found: torch.Tensor) -> torch.Tensor:
    """The same numbers, by way of NumPy."""
    return found + 0 * float(np.mean(found.detach().float().numpy()))


class Shaken(Thermal):
    """Cuts out another part than it is asked for."""

    def crop(self, value: Any, crop: am.Crop) -> np.ndarray:
        return super().crop(value, am.Crop(0, 0, crop.width, crop.height, crop.flip))


class Tilted(Thermal):
    """Turns upside down when mirrored, and a bit further."""

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return np.roll(super().mirror(value), 1, 0)


class Rigid(Thermal):
    """Says that it is mirrored and is not."""

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return value


class Blended(am.LabelMapModality):
    """Kinds of ground, ids 0 to 9; averages them."""

    classes = tuple(f"ground {k}" for k in range(10))
    nearest = False


class Sideways(Thermal):
    """Takes its height for its width."""

    def extent(self, value: Any) -> tuple[float, float]:
        return float(value.shape[0]), float(value.shape[1])


class Poisoned(Thermal):
    """Gives a picture of noise, another one every time."""

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        drawn = np.random.default_rng()
        return [v + drawn.random(v.shape, np.float32) for v in super().detokenize_stream(stream, tokens)]


class Gray(Thermal):
    """Shows a picture without colors."""

    def show(self, value: Any, size: int = 256) -> Any:
        return super().show(value, size).convert("L")


class Pickled(Thermal):
    """Writes pickles with the ending of pictures."""

    def write(self, value: Any, path: Path) -> None:
        super().write(value, path)
        path.with_suffix(".bak").write_bytes(b"")


class Modest(Thermal):
    """Never gives a full score."""

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"quality": 0.5}


class Endless(Thermal):
    """Has a number without a default."""

    settings = (*Thermal.settings, "emissivity")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.emissivity = 1.0

    def config(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in Thermal.settings}


class Locked(Thermal):
    """Keeps a lock, which no other process can have."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.lock = threading.Lock()


class Foreign(am.TextModality):
    """Text with the special tokens of another vocabulary."""

    def streams(self) -> tuple[am.Stream, ...]:
        space = am.TokenSpace.sequence(len(self.vocabulary or "x" * 9000), self.length, sentinels=(4, 200), end=3)
        return (am.Stream(self.name, self.name, space),)


class Unending(am.TextModality):
    """Text that does not say where it ends."""

    def tokenize(self, values: list[Any], rng: Any = None) -> dict[str, list[np.ndarray]]:
        return {name: [ids[:-1] for ids in rows] for name, rows in super().tokenize(values, rng).items()}


class Hollow(EmbeddingModality):
    """Rows with a hole."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {name: [v * np.float32(np.nan) for v in rows] for name, rows in super().tokenize(values).items()}


class Mean(Thermal):
    """Answers with a list where a picture is expected."""

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        return [value.tolist() for value in super().expect(probabilities)]


class Silent(Thermal):
    channels = 1


class Stubborn(Thermal):
    """Kelvin at one size, whatever is asked for."""

    def at_size(self, size: int) -> am.Modality:
        return self


PLANTED = {
    "AM002": Silent,
    "AM003": Locked,
    "AM011": Stubborn,
    "AM101": Channel,
    "AM102": Raw,
    "AM103": Celsius,
    "AM104": Greedy,
    "AM105": Dithered,
    "AM106": Noisy,
    "AM107": Gap,
    "AM108": Pathless,
    "AM109": Void,
    "AM110": Lenient,
    "AM111": Shifted,
    "AM112": Trusting,
    "AM113": Unsaid,
    "AM114": Rounding,
    "AM201": Wide,
    "AM202": Overflow,
    "AM203": Foreign,
    "AM204": Learner,
    "AM205": Scaled,
    "AM207": Unending,
    "AM208": Endless,
    "AM301": Double,
    "AM303": Neighbors,
    "AM305": Brittle,
    "AM307": Unknown,
    "AM311": Unportable,
    "AM401": Shaken,
    "AM402": Tilted,
    "AM403": Rigid,
    "AM404": Blended,
    "AM405": Sideways,
    "AM503": Hollow,
    "AM504": Mean,
    "AM505": Poisoned,
    "AM601": Gray,
    "AM602": Pickled,
    "AM603": Modest,
}
