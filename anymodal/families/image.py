"""Picture-like modalities: arrays of numbers over the image plane, tokenized by a ViT VQ-VAE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import ConfigError, ValueProblem
from anymodal.families.arrays import as_array
from anymodal.families.descriptions import (
    Description,
    describe,
    description_of,
    read_described,
    save_options,
    write_described,
)
from anymodal.families.drawing import note
from anymodal.families.grids import CroppedGrid
from anymodal.families.layouts import as_colors, as_samples, channels_last, repair
from anymodal.families.picture_files import read_picture, upright
from anymodal.families.pictures import colors_of, is_picture, samples_of
from anymodal.families.seams import pasted
from anymodal.files import is_npy, naming, replacing

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np


PICTURED = (1, 3)  # the numbers of channels that picture files hold
NOTHING = "nothing measured"  # what a picture says that shows none of its numbers
SHALLOW = (".jpg", ".jpeg", ".webp", ".bmp")  # endings of picture files of 8 bits


class ImageModality(CroppedGrid):
    """Values are float32 arrays (H, W) for one channel, else (H, W, channels), between `low` and `high`.

    Files are PNG (the full range of the integers maps to low..high, or to the range that the file states) or .npy
    arrays of natural values; with other than 1 or 3 channels, .npy is what is written. `dtype = "uint8"` makes values
    8-bit instead, which files hold as they are. Tensors are (channels, H, W) in [-1, 1]; what is not finite becomes
    `low`.
    """

    family: ClassVar[str] = "image"
    is_picture: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = (*CroppedGrid.settings, "low", "high")
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npy", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
    loss: ClassVar[str] = "smooth_l1"
    channels: int = 3
    low: float = 0.0
    high: float = 1.0
    dtype: ClassVar[str] = "float32"

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.channels not in PICTURED and "suffixes" not in vars(cls):
            cls.suffixes = (".npy", *(s for s in cls.suffixes if s != ".npy"))

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.low < self.high:
            raise ConfigError(
                f"{self.name} reaches from low {self.low:g} to high {self.high:g}; low must be below high"
            )

    @property
    def legible(self) -> bool:  # type: ignore[override]
        return self.channels == 3 or (self.channels == 1 and self.dtype == "uint8")

    @property
    def file_range(self) -> tuple[float, float]:
        """The values that the lowest and the highest integer of a picture file stand for."""
        return self.low, self.high

    def written_range(self, value: np.ndarray, path: Path) -> tuple[float, float]:
        """As `file_range`, of the file that is written for a value."""
        return self.file_range

    def read(self, path: Path) -> Any:
        path = Path(path)
        with naming(path):
            if not is_npy(path):
                return self._from_picture(read_picture(path))
            array, stated = read_described(path, self)
            self.check_description(stated)
            return self._natural(array)

    def check_description(self, stated: Description | None) -> None:
        """Raise ValueProblem where a file of the modality says that its values mean something else than they do here.

        A subclass overrides it whose settings change that. None: the file says nothing. Pictures whose samples of 8
        bits are the values are not asked.
        """

    def accept(self, value: Any) -> np.ndarray:
        if self.is_file(value):
            return self.from_file(value)
        if is_picture(value):
            return self._from_picture(upright(value))
        return self._natural(as_array(value))

    def _natural(self, array: np.ndarray) -> np.ndarray:
        """Natural values; bools are black and white where values are the samples of pictures.

        Raises ValueProblem for whole numbers that can only be samples of a picture.
        """
        if self.dtype == "uint8" and array.dtype == np.bool_:
            array = array * np.uint8(255)
        if self.dtype == "uint8":
            array = as_samples(array)
        if self.photographic and self.dtype == "uint8" and array.dtype.kind in "ui":
            array = as_colors(array)
            if array.ndim == 3 and array.shape[2] == 4 and array.dtype == np.uint8 and 0 not in array.shape:
                from PIL import Image

                return self._from_picture(Image.fromarray(array, "RGBA"))
        if self.dtype != "uint8" and array.dtype.kind in "bui" and array.size:
            low, high = int(array.min()), int(array.max())
            # What says that nothing is known, such as a depth of 0, counts too; of bools it would be another value.
            least, most = self.file_range if array.dtype.kind != "b" else (self.low, self.high)
            if low < least or high > most:
                raise ValueProblem(
                    f"{self.name} takes values from {self.low:g} to {self.high:g}, got whole numbers from {low} to"
                    f" {high}; if they are samples of a picture pass PIL.Image.fromarray(value), if they are natural"
                    " values value.astype('float32')"
                )
        return self._checked(array)

    def _from_picture(self, picture: Image) -> np.ndarray:
        if self.channels == 3:
            array: np.ndarray = colors_of(picture, self.photographic)
            top: float | None = 255.0
        elif self.channels == 1:
            array, top = samples_of(picture)
        else:
            array, top = np.asarray(picture), 255.0
        if top is None:
            return self._checked(array)
        if self.dtype == "uint8" and top == 255 and array.dtype == np.uint8:
            return self._checked(array)
        low, high = self.file_range
        if (stated := description_of(picture, self)) is not None and stated.range is not None:
            low, high = stated.range
        self.check_description(stated)
        numbers = array.astype(np.float32)
        numbers /= top  # in place: pictures may be large
        numbers *= high - low
        numbers += low
        return self._checked(np.rint(numbers).astype(np.uint8) if self.dtype == "uint8" else numbers)

    def _checked(self, value: Any) -> np.ndarray:
        expected = f"numbers of shape (H, W{'' if self.channels == 1 else f', {self.channels}'})"
        array = channels_last(as_array(value), self.channels)
        shape_ok = array.ndim == 2 if self.channels == 1 else array.ndim == 3 and array.shape[2] == self.channels
        if array.dtype.kind not in "buif" or not shape_ok or 0 in array.shape:
            raise self.problem(value, expected, repair(array, self.channels, self.dtype == "uint8"))
        if self.dtype == "uint8" and array.dtype != np.uint8:
            inside = np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255
            if array.dtype.kind == "f" or not inside:
                hint = repair(array, self.channels, True)
                raise self.problem(value, f"{expected} with dtype uint8 (0..255), or floats from 0 to 1", hint)
        with np.errstate(over="ignore"):  # what float32 does not reach is infinite
            return array.astype(self.dtype)

    def write(self, value: Any, path: Path) -> None:
        from PIL import Image

        array, path = as_array(value), Path(path)
        if self.dtype == "uint8":  # what is no sample would become one by wrapping around
            array = self._natural(array)
        if is_npy(path):
            write_described(array, path, describe(self))
            return
        if self.channels not in PICTURED:
            raise ValueProblem(f"{path}: pictures hold 1 or 3 channels, {self.name} has {self.channels}; write .npy")
        if path.suffix.lower() not in self.suffixes:
            raise ValueProblem(f"{path}: {self.name} is written to files that end in {', '.join(self.suffixes)}")
        deep = self.channels == 1 and self.dtype != "uint8"
        if deep and path.suffix.lower() in SHALLOW:
            raise ValueProblem(f"{path}: {self.name} is written in 16 bits, which such files lack; write .png or .tif")
        low, high = self.written_range(array, path)
        options = save_options(path, describe(self, range=(low, high)))
        with replacing(path) as temporary:
            if self.dtype == "uint8":
                Image.fromarray(array.astype(np.uint8)).save(temporary, **options)
                return
            top = 65535 if deep else 255
            unit = (np.nan_to_num(array.astype(np.float64), nan=low) - low) / (high - low)
            scaled = np.round(unit.clip(0, 1) * top)
            Image.fromarray(scaled.astype(np.uint16 if deep else np.uint8)).save(temporary, **options)

    def preprocess(self, value: Any) -> np.ndarray:
        array = np.nan_to_num(np.asarray(value, np.float32), nan=self.low, posinf=self.high, neginf=self.low)
        unit = (array.clip(self.low, self.high) - self.low) / (self.high - self.low)
        unit = unit[..., None] if unit.ndim == 2 else unit
        return np.ascontiguousarray((2 * unit - 1).transpose(2, 0, 1), np.float32)

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        unit = (np.clip(tensor, -1, 1).transpose(1, 2, 0) + 1) / 2
        value = unit * (self.high - self.low) + self.low
        if self.dtype == "uint8":
            value = np.round(value)
        value = value.astype(self.dtype)
        return value[..., 0] if self.channels == 1 else value

    def measured(self, value: Any) -> np.ndarray | None:
        """As the base says: with `nan_is_missing`, where none of the channels is NaN."""
        if not self.nan_is_missing:
            return None
        array = np.asarray(value, np.float32)
        return ~np.isnan(array.sum(-1) if array.ndim == 3 else array)

    def joined(self, value: np.ndarray, made: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """As the base says; numbers stay between `low` and `high` where those that were made are."""
        whole = super().joined(value, made, kept)
        if self.dtype == "uint8" or not (self.low <= made.min() <= made.max() <= self.high):
            return whole
        return pasted(value, whole.clip(self.low, self.high), kept)

    def show(self, value: Any, size: int = 256) -> Image:
        from PIL import Image

        array = np.nan_to_num(np.asarray(value, np.float32), nan=self.low)
        unit = ((array - self.low) / (self.high - self.low)).clip(0, 1)
        if unit.ndim == 3 and unit.shape[2] not in (1, 3):
            unit = unit[..., :3] if unit.shape[2] > 3 else unit.mean(2)
        unit = unit[..., 0] if unit.ndim == 3 and unit.shape[2] == 1 else unit
        picture = enlarge(Image.fromarray((unit * 255).round().astype(np.uint8)).convert("RGB"), size)
        known = self.measured(value)
        return picture if known is None or known.any() else note(picture, NOTHING)

    def legend(self, value: Any) -> list[tuple[tuple[int, int, int] | None, str]]:
        known = np.asarray(value, np.float32)
        where = self.measured(value)
        known = known if where is None else known[where]
        known = known[np.isfinite(known)]
        return [(None, f"{known.min():.4g} to {known.max():.4g} {self.unit}".rstrip())] if known.size else []

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean absolute error in natural units and peak signal-to-noise ratio in dB, over all values.

        Numbers count that are finite in the truth; values without any have no error.
        """
        pairs = [
            (np.asarray(p, np.float64), np.asarray(t, np.float64)) for p, t in zip(predictions, truths, strict=True)
        ]
        gaps = [(p - t)[np.isfinite(t)] if np.isfinite(t).any() else np.zeros(1) for p, t in pairs]
        error = float(np.mean([np.abs(gap).mean() for gap in gaps]))
        squared = float(np.mean([(gap**2).mean() for gap in gaps]))
        psnr = 10 * np.log10((self.high - self.low) ** 2 / max(squared, 1e-20))
        return {"mae": error, "psnr": float(psnr)}


def enlarge(picture: Image, size: int) -> Image:
    """Scale a picture so that its longer side has `size` pixels."""
    from PIL import Image

    scale = size / max(picture.size)
    method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), method)
