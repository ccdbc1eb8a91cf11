"""Class maps: one class id a pixel, tokenized by a ViT VQ-VAE with class embeddings."""

from __future__ import annotations

from collections.abc import Sequence
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
from anymodal.families.drawing import font_of, note, shortened
from anymodal.families.grids import CroppedGrid
from anymodal.families.image import enlarge
from anymodal.families.layouts import channels_last, repair
from anymodal.families.picture_files import read_picture, upright
from anymodal.families.pictures import ids_of, is_picture
from anymodal.files import is_npy, naming, replacing

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from anymodal.tokenizers.config import TokenizerConfig
else:
    from anymodal.lazy import np

NONE = 255


class LabelMapModality(CroppedGrid):
    """Values are uint8 arrays (H, W) of class ids; 255 means no class. Files are 8-bit PNG or .npy.

    `classes` names every id. `labels` are the ids that the tokenizer of a checkpoint knows (empty: all of them); other
    ids count as no class. Resizing never mixes classes.
    """

    family: ClassVar[str] = "label map"
    settings: ClassVar[tuple[str, ...]] = (*CroppedGrid.settings, "labels", "channels")
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npy")
    nearest: ClassVar[bool] = True
    legible: bool = False
    loss: ClassVar[str] = "cross_entropy"
    classes: ClassVar[tuple[str, ...]] = ()
    colors: ClassVar[tuple[tuple[int, int, int], ...]] = ()
    labels: tuple[int, ...] = ()
    channels: int = 64

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not 0 < len(self.classes) <= NONE:
            raise ConfigError(f"{self.name} names {len(self.classes)} classes; 1 to {NONE} have an id in eight bits")
        if any(isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(self.classes) for i in self.labels):
            raise ConfigError(f"{self.name} has labels 0 to {len(self.classes) - 1}, got {list(self.labels)}")

    @property
    def known(self) -> tuple[int, ...]:
        """The ids that the tokenizer knows, in the order of its own numbers."""
        return self.labels or tuple(range(len(self.classes)))

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        return super().tokenizer_config(encoder, decoder, labels=len(self.known) + 1, **options)

    def read(self, path: Path) -> np.ndarray:
        path = Path(path)
        with naming(path):
            if is_npy(path):
                return self._renumbered(*read_described(path, self))
            return self._from_picture(read_picture(path))

    def accept(self, value: Any) -> np.ndarray:
        if self.is_file(value):
            return self.from_file(value)
        return self._from_picture(upright(value)) if is_picture(value) else self._checked(value)

    def _from_picture(self, picture: Image) -> np.ndarray:
        return self._renumbered(ids_of(picture), description_of(picture, self))

    def _renumbered(self, array: np.ndarray, description: Description | None) -> np.ndarray:
        """Ids in this class's numbering, by the names that a file states for those that occur in it."""
        stated = {} if description is None else description.classes
        mine = {str(i): name for i, name in enumerate(self.classes)}
        if all(mine.get(i) == name for i, name in stated.items()):
            return self._checked(array)
        table = np.arange(NONE + 1)
        for i, name in stated.items():
            if name not in self.classes or not i.isascii() or not i.isdecimal() or not int(i) < NONE:
                raise ValueProblem(
                    f"{self.name} has no class {name!r:.80} for the id {i!r:.20} of the file; map its ids"
                )
            table[int(i)] = self.classes.index(name)
        if array.dtype.kind not in "ui" or array.size == 0 or array.min() < 0 or array.max() > NONE:
            return self._checked(array)
        return self._checked(table[array])

    def _describe(self, array: np.ndarray) -> Description:
        found = [i for i in np.unique(array).tolist() if i < len(self.classes)]
        return describe(self, classes={str(i): self.classes[i] for i in found})

    def _checked(self, value: Any) -> np.ndarray:
        array, count = as_array(value), len(self.classes)
        if array.ndim == 3:
            array = channels_last(array, 1)
        if array.ndim != 2 or array.dtype.kind not in "bui" or 0 in array.shape:
            floats = array.ndim == 2 and array.dtype.kind == "f"
            hint = "value.round().astype('uint8')" if floats else repair(array, 1, False)
            raise self.problem(value, f"class ids of shape (H, W), 0..{count - 1} or {NONE} for none", hint)
        if array.dtype == bool:
            array = array.astype(np.uint8)
        strange = array[(array < 0) | ((array >= count) & (array != NONE))]
        if strange.size:
            raise ValueProblem(
                f"{self.name} has class ids 0..{count - 1} and {NONE} for none, got {int(strange.flat[0])}; map the ids"
                " of another numbering to these"
            )
        return array.astype(np.uint8)

    def measured(self, value: Any) -> np.ndarray | None:
        return np.asarray(value) != NONE

    def write(self, value: Any, path: Path) -> None:
        from PIL import Image

        array, path = self._checked(value), Path(path)
        if path.suffix.lower() not in self.suffixes:
            raise ValueProblem(f"{path}: {self.name} is written to files that end in {' or '.join(self.suffixes)}")
        if is_npy(path):
            write_described(array, path, self._describe(array))
            return
        options = save_options(path, self._describe(array))
        with replacing(path) as temporary:
            Image.fromarray(array).save(temporary, **options)

    def preprocess(self, value: Any) -> np.ndarray:
        """Class ids -> indices (H, W) int64 of the tokenizer's labels, 0 for none."""
        table = np.zeros(NONE + 1, np.int64)
        table[list(self.known)] = np.arange(1, len(self.known) + 1)
        return table[np.asarray(value, np.uint8)]

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        """Logits (labels, H, W) -> class ids."""
        return np.array([NONE, *self.known], np.uint8)[tensor.argmax(0)]

    def likely(self, draws: list[np.ndarray]) -> np.ndarray:
        """The mean of the probabilities (labels, H, W) of several draws, over the tokenizer's labels, 0 for none."""
        return self.mean_tensor(self.tensors_of(draws))

    def mean_tensor(self, tensors: Sequence[np.ndarray], shown: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """As the base says: the mean of the probabilities of logits."""
        logits = np.stack(tensors)
        likely = np.exp(logits - logits.max(1, keepdims=True))
        return super().mean_tensor(list(likely / likely.sum(1, keepdims=True)), shown)

    def mirror_tensor(self, tensor: np.ndarray) -> np.ndarray:
        """As the base says; where `mirror` makes other classes of some, such as left of right, so do their numbers."""
        if type(self).mirror is CroppedGrid.mirror:
            return super().mirror_tensor(tensor)
        maps = np.array([NONE, *self.known], np.uint8).reshape(-1, 1, 1)
        turned = [self.preprocess(self.mirror(one)).item() for one in maps]
        mirrored = np.full_like(tensor, -np.inf)
        np.logaddexp.at(mirrored, turned, tensor[:, :, ::-1])
        return mirrored

    def true_classes(self, value: Any) -> tuple[np.ndarray, np.ndarray]:
        """The tokenizer's labels (H, W) that a value has at the model's size, and where it has any."""
        labels = self.preprocess(self.at(value, self.size))
        return labels, labels > 0

    def averaged(self, draws: list[np.ndarray]) -> tuple[Any, np.ndarray | None]:
        """The likeliest classes under the mean of the draws' probabilities, and the entropy (H, W) of that, in nats."""
        mean = self.likely(draws)
        sure = self.calibrated(np.moveaxis(mean, 0, -1), "classes")
        entropy = -(sure * np.log(np.maximum(sure, 1e-12))).sum(-1)
        return self.postprocess(mean), entropy.astype(np.float32)

    def color(self, label: int) -> tuple[int, int, int]:
        """A fixed color for a class, well apart for neighbors in the list; none is dark gray."""
        if label == NONE:
            return (40, 40, 40)
        if label < len(self.colors):
            return self.colors[label]
        import colorsys

        hue = (label * 0.61803398875) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(
            hue, 0.45 + 0.4 * ((label * 7) % 5) / 4, 0.95 - 0.4 * ((label * 3) % 4) / 3
        )
        return round(red * 255), round(green * 255), round(blue * 255)

    def show(self, value: Any, size: int = 256) -> Image:
        """The classes in color, the largest ones named where they lie, as far as the names do not touch."""
        from PIL import Image, ImageDraw

        array = np.asarray(value, np.uint8)
        palette = np.array([self.color(i) for i in range(NONE + 1)], np.uint8)
        picture = enlarge_nearest(Image.fromarray(palette[array]), size)
        draw, font, taken = ImageDraw.Draw(picture), font_of(max(8, size / 18)), list[tuple[float, ...]]()
        ids, counts = np.unique(array, return_counts=True)
        if not (ids < len(self.classes)).any():
            return note(picture, "no classes")
        scale = picture.width / array.shape[1]
        for i, count in sorted(zip(ids.tolist(), counts.tolist(), strict=True), key=lambda x: -x[1])[:6]:
            if i < len(self.classes) and count >= 0.03 * array.size:
                name = self.classes[i].removesuffix("-merged").removesuffix("-other")
                text = shortened(name, 0.95 * picture.width, font)
                x0, y0, x1, y1 = draw.textbbox((0, 0), text, font, "mm", stroke_width=2)
                row, column = _roomiest(array == i, int(2 * (y1 - y0) / scale), int(1.5 * (x1 - x0) / scale))
                x = min(max((column + 0.5) * scale, -x0), picture.width - x1)
                y = min(max((row + 0.5) * scale, -y0), picture.height - y1)
                box = (x + x0, y + y0, x + x1, y + y1)
                if text and not any(_touch(box, other) for other in taken):
                    taken.append(box)
                    draw.text((x, y), text, (255, 255, 255), font, "mm", stroke_width=2, stroke_fill=(0, 0, 0))
        return picture

    def legend(self, value: Any) -> list[tuple[tuple[int, int, int] | None, str]]:
        """The classes that occur, the most frequent first."""
        ids, counts = np.unique(np.asarray(value, np.uint8), return_counts=True)
        order = [int(ids[k]) for k in np.argsort(-counts, kind="stable")]
        return [(self.color(i), self.classes[i] if i < len(self.classes) else "none") for i in order]

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean intersection over union over the classes present in the truth, and pixel accuracy.

        Pixels of the truth without a class (255) are left out; where it has no others, both are 1.
        """
        matrix = np.zeros((NONE + 1, NONE + 1), np.int64)
        for p, t in zip(predictions, truths, strict=True):
            pair = np.asarray(t, np.int64).ravel() * (NONE + 1) + np.asarray(p, np.int64).ravel()
            matrix += np.bincount(pair, minlength=matrix.size).reshape(matrix.shape)
        matrix = matrix[:NONE]
        hit = np.diag(matrix).astype(float)
        union = matrix.sum(1) + matrix.sum(0)[:NONE] - hit
        present = matrix.sum(1) > 0
        if not present.any():
            return {"miou": 1.0, "accuracy": 1.0}
        return {
            "miou": float((hit[present] / union[present]).mean()),
            "accuracy": float(hit.sum() / max(matrix.sum(), 1)),
        }


def _roomiest(mask: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """Row and column of the mask (H, W) around which a box of that size holds most of it, the nearest to its middle."""
    rows, columns = np.nonzero(mask)
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    top, bottom = (np.clip(rows + by, 0, mask.shape[0]) for by in (-(height // 2), height // 2 + 1))
    left, right = (np.clip(columns + by, 0, mask.shape[1]) for by in (-(width // 2), width // 2 + 1))
    held = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    far = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    pick = np.lexsort((far, -held))[0]
    return int(rows[pick]), int(columns[pick])


def _touch(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two boxes (left, top, right, bottom) overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def enlarge_nearest(picture: Image, size: int) -> Image:
    """Like `enlarge`, with sharp edges between pixels."""
    from PIL import Image

    scale = size / max(picture.size)
    shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(shape, Image.Resampling.NEAREST) if scale > 1 else enlarge(picture, size)
