"""What every modality over the image plane shares: crops, sizes, and tokens of a VQ-VAE on a grid."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.crops import Crop
from anymodal.errors import ConfigError
from anymodal.families.codec import MOST_CODEBOOKS, MOST_WIDTH, decoded, decoded_mean, encoded
from anymodal.families.holes import filled_holes
from anymodal.families.ready import tokenizer_of
from anymodal.families.seams import pasted, seamless
from anymodal.modality import Modality
from anymodal.partial import Partial
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np


MOST_PIXELS = 2**14  # a side
MOST_NUMBERS = 2**28  # of a value


class CroppedGrid(Modality):
    """A value over the image plane, cut into a grid of `size / patch` squares with one token each.

    `size` is in pixels a side, `codebook` the number of ids, `latent` the width of a code, `channels` the number of
    channels the tokenizer reads. With several `codebooks` a square has as many tokens, side by side in its row. `loss`
    names the reconstruction loss of its training. A checkpoint may know the modality at `larger` sizes too; each is a
    stream `NAME.SIZE`, and values are then cropped to the largest. `denoising_steps` is how many a decoder that
    denoises takes; set it on an instance to choose between speed and detail. With `learned_positions` the Transformer
    learns where the cells are, beside their fixed codes: in these a cell of a finer grid lies elsewhere than that of a
    coarser one which shows the same part of the picture.
    """

    settings: ClassVar[tuple[str, ...]] = (
        "size",
        "patch",
        "codebook",
        "codebooks",
        "latent",
        "larger",
        "learned_positions",
    )
    aligned: ClassVar[bool] = True
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = {
        **dict.fromkeys(("size", "larger", "patch"), MOST_PIXELS),
        "codebooks": MOST_CODEBOOKS,
        "latent": MOST_WIDTH,
        "channels": MOST_WIDTH,
    }
    averages: ClassVar[bool] = True
    nearest: ClassVar[bool] = False
    smooth: ClassVar[bool] = False
    loss: ClassVar[str] = "mse"
    size: int = 224
    patch: int = 16
    codebook: int = 8192
    codebooks: int = 1
    latent: int = 32
    larger: tuple[int, ...] = ()
    learned_positions: bool = False
    channels: int = 3
    denoising_steps: int = 25

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for size in self.sizes:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1 or size % self.patch:
                raise ConfigError(f"{self.name} of {size!r} pixels a side does not split into patches of {self.patch}")
        if self.cells**2 * self.channels > MOST_NUMBERS:
            raise ConfigError(
                f"{self.name} of {max(self.sizes)} pixels a side has {self.cells} x {self.cells} x {self.channels}"
                f" numbers, more than {MOST_NUMBERS}"
            )
        if len(set(self.sizes)) < len(self.sizes):
            raise ConfigError(f"{self.name} has the size {self.size} and larger {list(self.larger)}; give each once")

    @property
    def side(self) -> int:
        """Tokens along one side of the grid."""
        return self.size // self.patch

    @property
    def sizes(self) -> tuple[int, ...]:
        """All sizes in pixels a side, the model's own first."""
        return (self.size, *self.larger)

    @property
    def cells(self) -> int:
        """Numbers along one side of a cropped value."""
        return self.cells_at(max(self.sizes))

    def cells_at(self, size: int) -> int:
        """Numbers along one side of a value of a size: its pixels, unless a family has coarser values."""
        return size

    def at(self, value: np.ndarray, size: int) -> np.ndarray:
        """A cropped value at one of the sizes."""
        cells, (height, width) = self.cells_at(size), value.shape[:2]
        return value if (height, width) == (cells, cells) else self.resized(value, cells, (0, 0, width, height))

    def resized(self, value: np.ndarray, cells: int, box: tuple[float, float, float, float]) -> np.ndarray:
        """Part `box` (left, top, right, bottom in pixels) of a value at cells x cells."""
        return resize(value, cells, box, self.nearest)

    def other_tokens(self, stored: Mapping[str, Any]) -> str:
        """As the base says; the tokens of one size depend neither on other sizes nor on what the Transformer learns."""
        meant = {key: value for key, value in stored.items() if key not in ("larger", "learned_positions")}
        return super().other_tokens(meant)

    def streams(self) -> tuple[Stream, ...]:
        spaces = {self.size_name(size): size // self.patch for size in self.sizes}
        return tuple(
            Stream(name, self.name, TokenSpace.grid(self.codebook, side, side * self.codebooks, self.learned_positions))
            for name, side in spaces.items()
        )

    def size_name(self, size: int) -> str:
        """The name of the stream of tokens at a size."""
        return self.name if size == self.size else f"{self.name}.{size}"

    def sampling(self, grounded: bool) -> Sampling:
        """One sharp step where a picture is known, several annealed ones where it has to be invented."""
        if grounded:
            return Sampling(scheme="roar", steps=1, temperature=0.0, guidance=2.0)
        return Sampling(scheme="roar", steps=8, temperature=3.0, anneal="onex:0.5:0.5", top_p=0.8, guidance=2.0)

    def extent(self, value: Any) -> tuple[float, float] | None:
        return float(value.shape[1]), float(value.shape[0])

    def crop(self, value: Any, crop: Crop) -> np.ndarray:
        """The part of the value, resized to cells x cells, mirrored last; beyond its borders lies what is inside."""
        value, box = within(value, crop)
        height, width = value.shape[:2]
        if box != (0, 0, width, height) or (height, width) != (self.cells, self.cells):
            value = self.resized(value, self.cells, box)
        return self.mirror(value) if crop.flip else value

    def mirror(self, value: np.ndarray) -> np.ndarray:
        """The value of the picture mirrored left to right."""
        return np.ascontiguousarray(value[:, ::-1])

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        """The tokenizer that fits the modality's settings, with the given widths and depths."""
        from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
        from anymodal.tokenizers.quantizers.config import CosineConfig, ProductConfig

        kind = CosineConfig if self.codebooks == 1 else ProductConfig
        return TokenizerConfig(
            kind="vit",
            channels=self.channels,
            encoder=ViTConfig(patch=self.patch, **encoder),
            decoder=ViTConfig(patch=self.patch, **decoder),
            quantizer=kind(size=self.codebook, latent=self.latent, codebooks=self.codebooks),
            image_size=self.size,
            **options,
        )

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {self.size_name(size): self.ids_at(values, size) for size in self.sizes}

    def condition(self, values: list[Any], streams: Collection[str]) -> dict[str, list[np.ndarray]]:
        """As the base says; other sizes are not tokenized."""
        return {name: self.ids_at(values, s) for s in self.sizes if (name := self.size_name(s)) in streams}

    def ids_at(self, values: list[Any], size: int) -> list[np.ndarray]:
        """The ids (length,) of values at one of the sizes."""
        return encoded(self, [self.preprocess(self.at(v, size)) for v in values])

    def stream_tensor(self, tensors: Tensor, stream: str) -> Tensor:
        """As the base says: the ids of the tokenizer, of tensors of the size of the stream."""
        return tokenizer_of(self).encode(tensors)

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        return self.detokenize_stream(self.name, tokens)

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        side = next(s.space.shape[0] for s in self.streams() if s.name == stream and s.space.shape)
        outputs = decoded(self, tokens, shape=(side, side), steps=self.denoising_steps)
        return [self.postprocess(o) for o in outputs]

    def tensors_of(self, draws: list[np.ndarray]) -> list[np.ndarray]:
        """What ids (length,) of any of the sizes decode to, before it is a natural value (C, H, W)."""
        return decoded(self, draws, shape=self.shape_of(draws), steps=self.denoising_steps)

    def shape_of(self, tokens: Sequence[np.ndarray]) -> tuple[int, int]:
        """The squares (rows, columns) that so many tokens (length, ...) have: a finer stream has more of them."""
        side = math.isqrt(len(tokens[0]) // self.codebooks) if tokens else self.side
        return side, side

    def averaged(self, draws: list[np.ndarray]) -> tuple[Any, np.ndarray | None]:
        """The value of the mean of what the draws decode to, and their standard deviation (H, W).

        A picture of the scene is that of the likeliest draw: a mean of several shows none of them.
        """
        tensors = self.tensors_of(draws)
        values = [self.postprocess(each) for each in tensors]
        spread = np.std([np.atleast_3d(value).astype(np.float32) for value in values], 0).mean(-1)
        value = values[0] if self.photographic else self.postprocess(self.mean_tensor(tensors))
        return value, spread.astype(np.float32)

    def partial(self, value: np.ndarray, keep: np.ndarray) -> Partial:
        """`keep` is a mask, bool (H, W) over the cropped picture; a token is kept where all of its square is.

        So is a place of the value: of a finer mask, all that lies in it.
        """
        cells = self.cells_at(self.size)
        mask = ~strongest(~np.asarray(keep, bool), cells, (0, 0, keep.shape[1], keep.shape[0]))
        rows = np.linspace(0, cells, self.side + 1).round().astype(int)
        squares = [[mask[a:b, c:d].all() for c, d in pairwise(rows)] for a, b in pairwise(rows)]
        positions = np.flatnonzero(np.repeat(squares, self.codebooks, 1))
        ids = self.ids_at([value], self.size)[0]
        known = self.at(value, self.size)
        return Partial(ids[positions], positions, lambda made, ids: self.joined(known, made, mask))

    def joined(self, value: np.ndarray, made: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """A made value in which `kept` places (H, W) are those of another; smooth values join without a seam."""
        return seamless(value, made, kept, self.both_say(value, made)) if self.smooth else pasted(value, made, kept)

    def both_say(self, value: np.ndarray, made: np.ndarray) -> np.ndarray:
        """Where two values are `measured`, bool (H, W)."""
        masks = [np.ones(each.shape[:2], bool) if (m := self.measured(each)) is None else m for each in (value, made)]
        return np.logical_and(*masks)

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        outputs = decoded_mean(self, probabilities, shape=self.shape_of(probabilities), steps=self.denoising_steps)
        return [self.postprocess(o) for o in outputs]

    def expect_views(
        self, probabilities: list[np.ndarray], views: Sequence[Sequence[tuple[Crop, np.ndarray]]]
    ) -> list[Any]:
        """Natural values of the mean of what several views of the inputs say.

        Args:
            probabilities: as for `expect`, of the inputs as they are.
            views: of each sample the others: how each lies in the picture, with its probabilities (length, size).
        """
        found = []
        for own, more in zip(probabilities, views, strict=True):  # one by one, for there are as many times the numbers
            crops, every = [Crop(), *(crop for crop, _ in more)], [own, *(seen for _, seen in more)]
            outputs = decoded_mean(self, every, shape=self.shape_of(every), steps=self.denoising_steps)
            put = [self.put_back(output, crop) for output, crop in zip(outputs, crops, strict=True)]
            tensors, shown = zip(*put, strict=True)
            found.append(self.postprocess(self.mean_tensor(tensors, shown)))
        return found

    def put_back(self, tensor: np.ndarray, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """The tensor (C, H, W) of a view in the places of the picture, and which of them, bool (H, W), the view shows.

        The view is as large as the picture, and moved by whole numbers of the tensor.
        """
        tensor = self.mirror_tensor(tensor) if crop.flip else tensor
        height, width = tensor.shape[1:]
        rows, columns = np.arange(height) - round(crop.top * height), np.arange(width) - round(crop.left * width)
        shown = np.logical_and.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
        return tensor[:, rows.clip(0, height - 1)][:, :, columns.clip(0, width - 1)], shown

    def mirror_tensor(self, tensor: np.ndarray) -> np.ndarray:
        """The tensor (C, H, W) of the picture mirrored left to right, as `mirror` does it to a value."""
        if type(self).mirror is CroppedGrid.mirror:
            return np.ascontiguousarray(tensor[:, :, ::-1])
        return self.preprocess(self.mirror(self.postprocess(tensor)))

    def mean_tensor(self, tensors: Sequence[np.ndarray], shown: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """The mean (C, H, W) of tensors of one value; of each where it is `shown`, bool (H, W), else everywhere."""
        if shown is None:
            return np.mean(tensors, 0)
        shares = np.stack(shown).astype(np.float32)[:, None]
        return (np.stack(tensors) * shares).sum(0) / shares.sum(0)


def within(value: np.ndarray, crop: Crop) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A value (H, W[, C]) and the box (left, top, right, bottom in pixels) of a crop that does not reach out of it.

    As far as it reaches out, the value is continued by its own mirror image.
    """
    (height, width), beyond = value.shape[:2], 1e-6  # of a pixel, by which fractions are inexact
    left, top = crop.left * width, crop.top * height
    right, bottom = (crop.left + crop.width) * width, (crop.top + crop.height) * height
    over = [(-top, bottom - height), (-left, right - width)]
    pads = [tuple(max(math.ceil(each - beyond), 0) for each in pair) for pair in over]
    if any(map(any, pads)):
        value = np.pad(value, [*pads, *[(0, 0)] * (value.ndim - 2)], mode="symmetric")
    (above, _), (before, _) = pads
    height, width = value.shape[:2]
    return value, (left + before, top + above, min(right + before, width), min(bottom + above, height))


def resize(value: np.ndarray, size: int, box: tuple[float, float, float, float], nearest: bool) -> np.ndarray:
    """Part `box` (left, top, right, bottom in pixels) of an array (H, W[, C]) at size x size; keeps the dtype.

    Whole numbers are rounded and stay within what their type holds, for bicubic weights overshoot at edges. What is not
    finite stays where it is most of a place of the result, and counts nowhere else.
    """
    from PIL import Image

    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    if value.dtype == np.uint8 and (value.ndim == 2 or value.shape[2] == 3):
        return np.asarray(Image.fromarray(value).resize((size, size), method, box))
    planes = value[..., None] if value.ndim == 2 else value
    parts = (np.ascontiguousarray(planes[..., c], np.float32) for c in range(planes.shape[2]))
    result = np.stack([_resize_plane(part, size, box, nearest) for part in parts], -1)
    if value.dtype.kind in "ui":
        limits = np.iinfo(value.dtype)
        result = np.rint(result).clip(limits.min, limits.max)
    result = result.astype(value.dtype)
    return result[..., 0] if value.ndim == 2 else result


def _resize_plane(plane: np.ndarray, size: int, box: tuple[float, float, float, float], nearest: bool) -> np.ndarray:
    """Part `box` of one channel (H, W) float32 at size x size."""
    from PIL import Image

    def scaled(numbers: np.ndarray, method: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(numbers).resize((size, size), method, box))

    if nearest:
        return scaled(plane, Image.Resampling.NEAREST)
    known = np.isfinite(plane)
    if known.all():
        return scaled(plane, Image.Resampling.BICUBIC)
    smooth = scaled(filled_holes(plane, known, 0.0), Image.Resampling.BICUBIC)
    share = scaled(known.astype(np.float32), Image.Resampling.BOX)
    holes = scaled(filled_holes(plane, ~known, 0.0), Image.Resampling.NEAREST)  # NaN, or infinite as what is near
    return np.where(share < 0.5, holes, smooth)


def strongest(value: np.ndarray, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """Part `box` (left, top, right, bottom in pixels) of an array (H, W) at size x size; the largest of each cell."""
    left, top, right, bottom = box
    rows, columns = _spans(top, bottom, size, value.shape[0]), _spans(left, right, size, value.shape[1])
    tall = np.stack([value[first:last].max(0) for first, last in rows])
    return np.ascontiguousarray(np.stack([tall[:, first:last].max(1) for first, last in columns], 1))


def _spans(start: float, stop: float, cells: int, size: int) -> list[tuple[int, int]]:
    """The pixels [first, last) whose centers lie in each of `cells` equal parts of start..stop, or the nearest."""
    borders = np.linspace(start, stop, cells + 1)
    first = np.ceil(borders[:-1] - 0.5).astype(int).clip(0, size - 1)
    last = np.ceil(borders[1:] - 0.5).astype(int).clip(0, size)
    middle = ((borders[:-1] + borders[1:]) / 2).astype(int).clip(0, size - 1)
    empty = last <= first
    first, last = np.where(empty, middle, first), np.where(empty, middle + 1, last)
    return list(zip(first.tolist(), last.tolist(), strict=True))
