"""Images that enter the model as pixels or as tokens, and leave it as tokens."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.families.image import ImageModality
from anymodal.spaces import DenseSpace, Stream

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class PixelModality(ImageModality):
    """An image with a second, dense stream `NAME.pixels`: its patches, standardized by `mean` and `std` (unit range).

    A patch is a row of patch * patch * channels numbers in the order row, column, channel.
    """

    family: ClassVar[str] = "pixels"
    photographic: ClassVar[bool] = True
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)

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
        dense = (Stream(n, self.name, DenseSpace.grid(width, s, s), target=False) for n, s in sides.items())
        return (*dense, *super().streams())

    def patches(self, value: Any, size: int | None = None) -> np.ndarray:
        """The rows (side * side, patch * patch * channels) float32 of a value at a size, by default the model's own."""
        size = size or self.size
        unit = (self.preprocess(self.at(value, size)).transpose(1, 2, 0) + 1) / 2
        standard = (unit - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        n, p = size // self.patch, self.patch
        return (
            standard.reshape(n, p, n, p, self.channels).transpose(0, 2, 1, 3, 4).reshape(n * n, -1).astype(np.float32)
        )

    def condition(self, values: list[Any], streams: Collection[str]) -> dict[str, list[np.ndarray]]:
        """As the base says; where pixels are enough, no tokenizer is used."""
        dense = {self.pixels_name(size): size for size in self.sizes}
        rows = {name: [self.patches(v, size) for v in values] for name, size in dense.items() if name in streams}
        return rows | super().condition(values, streams)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        rows = {self.pixels_name(size): [self.patches(v, size) for v in values] for size in self.sizes}
        return rows if self.tokenizer is None else rows | super().tokenize(values)
