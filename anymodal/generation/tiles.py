"""A picture larger than the model's as tiles of the model's size that overlap, and values of tiles blended into one.

Shapes: T tiles, (C, h, w) the tensor of a tile, (C, H, W) that of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np

from anymodal.config.validators import integer, real
from anymodal.crops import Crop
from anymodal.errors import ConfigError, GenerationError, brief

MOST_OVERLAP = 0.75
MOST_TILES = 4096  # some 50 000 x 50 000 pixels for tiles of 1024; more is a mistake


@attrs.frozen
class Tiles:
    """Where the tiles of a picture are, in pixels.

    width, height: of the picture.
    side: of a tile.
    lefts, tops: of the columns and the rows of tiles, ascending.
    shared: pixels that neighbors share at least, over which they are blended.
    """

    width: int
    height: int
    side: int
    lefts: tuple[int, ...]
    tops: tuple[int, ...]
    shared: int

    @property
    def overlap(self) -> float:
        """The share of a tile that neighbors have too, at least."""
        return self.shared / self.side

    @property
    def corners(self) -> list[tuple[int, int]]:
        """The (left, top) of every tile, row by row."""
        return [(left, top) for top in self.tops for left in self.lefts]

    def crop(self, number: int) -> Crop:
        """The part of the picture that a tile is."""
        left, top = self.corners[number]
        return Crop(left / self.width, top / self.height, self.side / self.width, self.side / self.height)

    def waves(self) -> list[list[int]]:
        """Tiles by number in groups, so that each one comes after its neighbors above and to the left."""
        across = len(self.lefts)
        numbers: dict[int, list[int]] = {}
        for number in range(len(self.corners)):
            row, column = divmod(number, across)
            numbers.setdefault(column + self._reach * row, []).append(number)
        return [numbers[key] for key in sorted(numbers)]

    @property
    def _reach(self) -> int:
        """By how many columns a row is behind the one above, so that no two tiles of a group overlap."""
        return 1 + max(sum(other < left + self.side for other in self.lefts if other > left) for left in self.lefts)

    def blended(self, tensors: Sequence[np.ndarray]) -> np.ndarray:
        """The tensor (C, H, W) of the picture: the mean of the tiles' (C, h, w), in which each fades to its edges."""
        scale = tensors[0].shape[-1] / self.side
        total = np.zeros((tensors[0].shape[0], round(self.height * scale), round(self.width * scale)))
        weight, fade = np.zeros(total.shape[1:]), faded(tensors[0].shape[-1], max(1, round(self.shared * scale)))
        for (left, top), tensor in zip(self.corners, tensors, strict=True):
            rows, columns = (slice(round(at * scale), round(at * scale) + tensor.shape[-1]) for at in (top, left))
            total[:, rows, columns] += tensor * fade
            weight[rows, columns] += fade
        return (total / weight).astype(np.float32)


def faded(side: int, over: int) -> np.ndarray:
    """The weights (side, side) of the places of a tile: 1 inside, and less over so many places to each edge."""
    places = np.arange(side) + 0.5
    one = np.minimum(np.minimum(places, places[::-1]) / over, 1.0)
    return one[:, None] * one[None]


def tiles_of(size: object, overlap: object, side: int, unit: int) -> Tiles:
    """The tiles of a picture.

    Args:
        size: (width, height) of the picture in pixels, multiples of `unit`.
        overlap: the least share of a tile that its neighbor has too, above 0 and at most 0.75; neighbors share whole
            squares, so many that it is no less.
        side: pixels a side of a tile.
        unit: pixels a side of a square with one token; tiles begin at its multiples.

    Raises:
        GenerationError: the picture is smaller than a tile, no multiple of `unit`, or far too large.
        ConfigError: the overlap cannot be.
    """
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise GenerationError(f"size is (width, height) in pixels, or 'input', got {brief(size)}")
    width, height = (integer(each) for each in size)
    share = real(overlap)  # type: ignore[arg-type]
    if not 0 < share <= MOST_OVERLAP:
        raise ConfigError(f"overlap is above 0 and at most {MOST_OVERLAP}, got {share:g}")
    if min(width, height) < side:
        raise GenerationError(
            f"size {width} x {height} is smaller than the model's {side} x {side} pixels: leave it out, and resize"
        )
    if width % unit or height % unit:
        near = " x ".join(str(rounded(each, side, unit)) for each in (width, height))
        raise GenerationError(f"size {width} x {height} is no multiple of {unit} pixels, as tokens are: take {near}")
    squares = side // unit
    if squares == 1:
        raise GenerationError(f"tiles of {side} pixels with one token cannot overlap: leave out size")
    shared = math.ceil(share * squares - 1e-9) * unit  # a share of whole squares may be a little above them
    if shared >= side:
        most = f"at most {(squares - 1) / squares:.3g}"
        raise ConfigError(f"overlap {share:g} is all of a tile of {squares} x {squares} tokens: take {most}")
    across, down = (1 + math.ceil((each - side) / (side - shared)) for each in (width, height))
    if across * down > MOST_TILES:
        raise GenerationError(f"size {width} x {height} takes {across * down} tiles; at most {MOST_TILES} are made")
    lefts, tops = (_starts(*each, side, unit) for each in ((width, across), (height, down)))
    return Tiles(width, height, side, lefts, tops, shared)


def _starts(length: int, count: int, side: int, unit: int) -> tuple[int, ...]:
    """Where so many tiles begin, evenly over a length, at multiples of the unit."""
    steps = (length - side) // unit
    return tuple(round(k * steps / max(count - 1, 1)) * unit for k in range(count))


def rounded(pixels: float, side: int, unit: int) -> int:
    """The nearest number of pixels that a picture can have."""
    return max(side, round(pixels / unit) * unit)


def cut_to_shape(extent: tuple[float, float], width: int, height: int) -> Crop:
    """The largest centered part of a picture (width, height) that has another's shape, in whole pixels.

    What has that shape but for one pixel stays whole, so that what was cut is not cut again.
    """
    wide, high = extent
    across, down = high * width / height, wide * height / width
    if abs(wide - across) < 1 or abs(high - down) < 1:
        return Crop()
    if wide > across:
        kept = max(round(across), 1)
        return Crop(left=((wide - kept) // 2) / wide, width=kept / wide)
    kept = max(round(down), 1)
    return Crop(top=((high - kept) // 2) / high, height=kept / high)
