"""Images that enter the model as pixels or as tokens, and leave it as tokens."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import PluginError
from anymodal.families.image import ImageModality
from anymodal.spaces import DenseSpace, Stream

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
else:
    from anymodal.lazy import np


class PixelModality(ImageModality):
    """An image with a second, dense stream `NAME.pixels`: its patches, standardized by `mean` and `std` (unit range).

    A patch is a row of patch * patch * channels numbers in the order row, column, channel. `mean` and `std` are a
    number a channel; without any they are 0.5 each.
    """

    family: ClassVar[str] = "pixels"
    photographic: ClassVar[bool] = True
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for key in ("mean", "std"):
            if "channels" in vars(cls) and getattr(cls, key) is getattr(PixelModality, key):
                setattr(cls, key, (0.5,) * cls.channels)

    @classmethod
    def validate(cls) -> None:
        """As the base says; `mean` and `std` have a number a channel, those of `std` above 0."""
        super().validate()
        for key, above in (("mean", -math.inf), ("std", 0.0)):
            numbers = getattr(cls, key)
            counted = isinstance(numbers, (tuple, list)) and len(numbers) == cls.channels
            if not counted or not all(isinstance(n, (int, float)) and above < n < math.inf for n in numbers):
                least = " above 0" if key == "std" else ""
                raise PluginError(
                    f"{key} of modality {cls.name!r} is a finite number{least} for each of its {cls.channels} channels,"
                    f" not {numbers!r:.80}"
                )

    @property
    def pixels(self) -> str:
        """The name of the dense stream."""
        return self.pixels_name(self.size)

    def pixels_name(self, size: int) -> str:
        """The name of the dense stream at a size."""
        return f"{self.name}.pixels" if size == self.size else f"{self.name}.pixels_{size}"

    def streams(self) -> tuple[Stream, ...]:
        width = self.patch * self.patch * self.channels
        sides = {self.pixels_name(size): size // self.patch for size in self.sizes}
        spaces = {name: DenseSpace.grid(width, side, side, self.learned_positions) for name, side in sides.items()}
        dense = (Stream(name, self.name, space, target=False) for name, space in spaces.items())
        return (*dense, *super().streams())

    def patches(self, value: Any, size: int | None = None) -> np.ndarray:
        """The rows (side * side, patch * patch * channels) float32 of a value at a size, by default the model's own."""
        tensor = self.preprocess(self.at(value, size or self.size))
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return self._rows(tensor, mean, std).astype(np.float32)

    def stream_tensor(self, tensors: Tensor, stream: str) -> Tensor:
        """As the base says; the size of pixels is that of the tensors."""
        if stream == self.name:
            return super().stream_tensor(tensors, stream)
        return self._rows(tensors, tensors.new_tensor(self.mean), tensors.new_tensor(self.std))

    def _rows(self, tensors: Any, mean: Any, std: Any) -> Any:
        """The rows (..., h * w, patch * patch * channels) of arrays or tensors (..., channels, H, W) in -1..1."""
        *batch, channels, height, width = tensors.shape
        p = self.patch
        cells = tensors.reshape(*batch, channels, height // p, p, width // p, p)
        cells = cells.swapaxes(-5, -1).swapaxes(-5, -4).swapaxes(-4, -2)  # row, column, row and column inside, channel
        standard = ((cells + 1) / 2 - mean) / std
        return standard.reshape(*batch, (height // p) * (width // p), p * p * channels)

    def condition(self, values: list[Any], streams: Collection[str]) -> dict[str, list[np.ndarray]]:
        """As the base says; where pixels are enough, no tokenizer is used."""
        dense = {self.pixels_name(size): size for size in self.sizes}
        rows = {name: [self.patches(v, size) for v in values] for name, size in dense.items() if name in streams}
        return rows | super().condition(values, streams)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        rows = {self.pixels_name(size): [self.patches(v, size) for v in values] for size in self.sizes}
        return rows if self.tokenizer is None else rows | super().tokenize(values)
