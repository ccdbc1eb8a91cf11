"""Signals: numbers that follow one another in time, with or without a second axis; they do not lie over a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import ConfigError, ValueProblem
from anymodal.families.arrays import ArrayModality, as_array
from anymodal.families.codec import decoded, decoded_mean, encoded
from anymodal.families.plots import heat_map, line_plot
from anymodal.families.wav import is_wav, read_wav
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np

LARGEST_TABLE = 128  # positions along a side of the tokenizer's table, which is resized to longer signals
MOST = 2**24  # numbers of a signal
ARRAYS, SOUND = (".npy",), (".npy", ".wav")  # endings of files of a signal with two axes, and with one


class SignalModality(ArrayModality):
    """Values are float32 arrays in time: (samples,), or (rows, frames) such as a spectrogram's; files are .npy arrays.

    Signals with one axis are read from WAV files too, whose full scale is -1 to 1, at their own rate and channels.
    With several `channels` they have one more axis, the last. `rate` is samples or frames a second, `unit` that of the
    numbers, which lie between `low` and `high`. A model has the signal at `shape`: of a longer one it takes the
    beginning, and a shorter one is followed by `silence`, which also stands for what is not finite. `cell`, of as many
    numbers as `shape`, says which part of the signal becomes one token. Tensors are (numbers of a cell, rows of cells,
    columns of cells) in [-1, 1]. Crops and flips of a picture leave signals alone.
    """

    family: ClassVar[str] = "signal"
    settings: ClassVar[tuple[str, ...]] = ("shape", "cell", "codebook", "latent", "rate", "low", "high")
    suffixes: ClassVar[tuple[str, ...]] = SOUND
    loss: ClassVar[str] = "smooth_l1"
    unit: ClassVar[str] = ""
    silence: ClassVar[float] = 0.0
    channels: int = 1
    shape: tuple[int, ...] = (4096,)
    cell: tuple[int, ...] = (32,)
    codebook: int = 1024
    latent: int = 16
    rate: float = 1.0
    low: float = -1.0
    high: float = 1.0

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.suffixes in (ARRAYS, SOUND):
            cls.suffixes = SOUND if len(cls.shape) == 1 else ARRAYS

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for axes in (self.shape, self.cell):
            if len(axes) not in (1, 2) or any(type(n) is not int or n < 1 for n in axes):
                raise ConfigError(f"{self.name} has a shape and a cell of one or two whole numbers, got {axes!r:.80}")
        uneven = len(self.shape) != len(self.cell) or any(n % c for n, c in zip(self.shape, self.cell, strict=True))
        if uneven or math.prod(self.shape) * self.channels > MOST:
            raise ConfigError(
                f"{self.name} of shape {list(self.shape)} does not split into cells of {list(self.cell)}, or has more"
                f" than {MOST} numbers"
            )
        if not self.low < self.high or not self.rate > 0:
            raise ConfigError(
                f"{self.name} reaches from low {self.low:g} to high {self.high:g} at a rate of {self.rate:g}; low must"
                " be below high, and the rate above 0"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        counts = [n // c for n, c in zip(self.shape, self.cell, strict=True)]
        return (1, counts[0]) if len(counts) == 1 else (counts[0], counts[1])

    @property
    def rest(self) -> float:
        """The number that stands where a signal says nothing: `silence`, or what of low..high is nearest to it."""
        return min(max(self.silence, self.low), self.high)

    def streams(self) -> tuple[Stream, ...]:
        rows, columns = self.grid
        flat = len(self.shape) == 1
        space = TokenSpace(self.codebook, columns) if flat else TokenSpace.grid(self.codebook, rows, columns)
        return (Stream(self.name, self.name, space),)

    def sampling(self, grounded: bool) -> Sampling:
        return Sampling(scheme="roar", steps=8, temperature=1.0, top_p=0.8)

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        """The tokenizer that fits the modality's settings, with the given widths and depths."""
        from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
        from anymodal.tokenizers.quantizers.config import CosineConfig

        cells = {"patch": 1, "patch_projection": False}
        return TokenizerConfig(
            kind="vit",
            channels=math.prod(self.cell) * self.channels,
            encoder=ViTConfig(**{**cells, **encoder}),
            decoder=ViTConfig(**{**cells, **decoder}),
            quantizer=CosineConfig(size=self.codebook, latent=self.latent),
            image_size=min(max(self.grid), LARGEST_TABLE),
            **options,
        )

    @property
    def expected(self) -> str:
        axes = self._steps if len(self.shape) == 1 else f"{self.shape[0]}, {self._steps}"
        end = f", {self.channels}" if self.channels > 1 else "," if len(self.shape) == 1 else ""
        return f"a signal of shape ({axes}{end}), at least one long"

    def fits(self, shape: tuple[int, ...]) -> bool:
        time = len(self.shape) - 1
        wanted = (*self.shape[:time], *((self.channels,) if self.channels > 1 else ()))
        return len(shape) == len(wanted) + 1 and shape[time] > 0 and shape[:time] + shape[time + 1 :] == wanted

    def _checked(self, value: Any) -> np.ndarray:
        """As the base says; ValueProblem too for whole numbers that can only be samples of sound as files have them."""
        array = as_array(value)
        if (
            array.dtype.kind in "iu"
            and array.size
            and not self.low <= int(array.min()) <= int(array.max()) <= self.high
        ):
            raise ValueProblem(
                f"{self.name} takes numbers from {self.low:g} to {self.high:g}, got whole numbers from"
                f" {int(array.min())} to {int(array.max())}; if they are samples of sound divide them, as"
                " value / 32768 for 16 bits, if they are natural values pass value.astype('float32')"
            )
        return super()._checked(value)

    def read(self, path: Path) -> np.ndarray:
        path = Path(path)
        return self._heard(path) if is_wav(path) else super().read(path)

    def check_stated(self, reader: Any) -> None:
        """Raise ValueProblem for a file that states another rate."""
        if reader.rate != self.rate:
            raise ValueProblem(
                f"it has {reader.rate:g} {self._steps} a second, and {self.name} {self.rate:g}; resample it, and pass"
                " the array"
            )

    @property
    def _steps(self) -> str:
        """What there are `rate` of in a second."""
        return "samples" if len(self.shape) == 1 else "frames"

    def _heard(self, path: Path) -> np.ndarray:
        """The sound in a WAV file. Raises ValueProblem for one at another rate, of other channels, in another range."""
        sound, rate = read_wav(path)
        channels = sound.shape[1]
        if len(self.shape) != 1 or not -1 <= self.low < self.high <= 1:
            raise ValueProblem(
                f"{path} holds samples from -1 to 1, and {self.name} is {self.expected}, from {self.low:g} to"
                f" {f'{self.high:g} {self.unit}'.rstrip()}; give an array of these numbers"
            )
        if rate != self.rate:
            raise ValueProblem(
                f"{path} has {rate} samples a second, and {self.name} {self.rate:g}; resample it, as"
                f" `ffmpeg -i IN.wav -ar {self.rate:g} OUT.wav` does"
            )
        if channels != self.channels:
            raise ValueProblem(
                f"{path} has {channels} channels, and {self.name} {self.channels}; mix them, as"
                f" `ffmpeg -i IN.wav -ac {self.channels} OUT.wav` does"
            )
        return sound[:, 0].copy() if channels == 1 else sound

    def at_shape(self, value: Any) -> np.ndarray:
        """The value (*shape, channels) float32 as long as the model has it, finite and within low..high."""
        array = np.asarray(value, np.float32).reshape(*np.shape(value)[: len(self.shape)], self.channels)
        time = len(self.shape) - 1
        known = array[:, : self.shape[time]] if time else array[: self.shape[time]]
        whole = np.full((*self.shape, self.channels), self.rest, np.float32)
        place = whole[:, : known.shape[time]] if time else whole[: known.shape[time]]
        place[:] = np.where(np.isfinite(known), known, self.rest).clip(self.low, self.high)
        return whole

    def preprocess(self, value: Any) -> np.ndarray:
        unit = 2 * (self.at_shape(value) - self.low) / (self.high - self.low) - 1
        (rows, columns), cell = self.grid, (1, *self.cell)[-2:]
        cells = unit.reshape(rows, cell[0], columns, cell[1], self.channels).transpose(1, 3, 4, 0, 2)
        return np.ascontiguousarray(cells.reshape(-1, rows, columns), np.float32)

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        (rows, columns), cell = self.grid, (1, *self.cell)[-2:]
        cells = np.clip(tensor, -1, 1).reshape(*cell, self.channels, rows, columns).transpose(3, 0, 4, 1, 2)
        value = (cells + 1) / 2 * (self.high - self.low) + self.low
        shape = self.shape if self.channels == 1 else (*self.shape, self.channels)
        return np.ascontiguousarray(value.reshape(shape), np.float32)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {self.name: encoded(self, [self.preprocess(value) for value in values])}

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        return [self.postprocess(output) for output in decoded(self, tokens, shape=self.grid)]

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        return [self.postprocess(output) for output in decoded_mean(self, probabilities, shape=self.grid)]

    def show(self, value: Any, size: int = 256) -> Image:
        """A plot over time in seconds: a line a channel, or the rows as colors, the first one lowest."""
        array = np.asarray(value, np.float32)
        finite = np.where(np.isfinite(array), array, self.rest)
        seconds = array.shape[len(self.shape) - 1] / self.rate
        if len(self.shape) == 1:
            return line_plot(finite.reshape(len(array), -1), self.low, self.high, seconds, self.unit, size)
        return heat_map(finite if finite.ndim == 2 else finite.mean(2), self.low, self.high, seconds, self.unit, size)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean absolute error in natural units and peak signal-to-noise ratio in dB, over the time that both have.

        Numbers count that are finite in the truth; values without any have no error.
        """
        absolute, squared = [], []
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = (np.asarray(each, np.float64) for each in (prediction, truth))
            time = len(self.shape) - 1
            count = min(p.shape[time], t.shape[time])
            p, t = (each[:, :count] if time else each[:count] for each in (p, t))
            gap = (p - t)[np.isfinite(t)] if np.isfinite(t).any() else np.zeros(1)
            absolute.append(np.abs(gap).mean())
            squared.append((gap**2).mean() / (self.high - self.low) ** 2)
        return {"mae": float(np.mean(absolute)), "psnr": float(-10 * np.log10(max(float(np.mean(squared)), 1e-12)))}

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        """Silence, a tone, and noise over the whole range."""
        shape, count = self.shape if self.channels == 1 else (*self.shape, self.channels), self.shape[-1]
        wave = np.sin(np.linspace(0, 12 * np.pi, count, dtype=np.float32))
        tone = np.broadcast_to(wave.reshape(*(1,) * (len(self.shape) - 1), count, *(1,) * (self.channels > 1)), shape)
        middle, reach = (self.low + self.high) / 2, (self.high - self.low) / 2
        return {
            "silence": np.full(shape, self.rest, np.float32),
            "tone": (middle + 0.8 * reach * tone).astype(np.float32),
            "noise": (middle + reach * rng.uniform(-1, 1, shape)).astype(np.float32),
        }
