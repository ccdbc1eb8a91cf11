"""NYU Depth v2 (Silberman et al. 2012): `nyu_depth_v2_labeled.mat`, and `splits.mat` with the test pictures.

The file is HDF5 written by MATLAB, so that h5py sees the axes in reverse: `images` uint8 (1449, 3, 640, 480), `depths`
float32 (1449, 640, 480) in meters, filled in, `labels` uint16 (1449, 640, 480) from 1 to 894, 0 for none. `testNdxs` of
`splits.mat` are 654 numbers that begin at 1. Depth is scored within the crop of Eigen et al. (2014): rows 45 to 471,
columns 41 to 601.

`classMapping40.mat` (Gupta et al. 2013) has for each of the 894 a number from 1 to 40 in `mapClass`, and their names in
`className`; `class13Mapping.mat` (Couprie et al. 2013) for each of the 40 one from 1 to 13, and names, in two fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.errors import DataError, PluginError, ValueProblem, brief, one_line
from anymodal.evaluation.layouts.base import NONE, Sample, Samples, class_table, lost_note, single, stamps

FILE, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
MAPPING40, MAPPING13 = "classMapping40.mat", "class13Mapping.mat"
ALSO = {  # as COCO's panoptic classes call what is, or what is a kind of, the same thing there
    "wall": ("wall-other-merged", "wall-brick", "wall-stone", "wall-tile", "wall-wood"),
    "floor": ("floor-other-merged", "floor-wood"),
    "cabinet": ("cabinet-merged",),
    "sofa": ("couch",),
    "table": ("table-merged", "dining table"),
    "door": ("door-stuff",),
    "window": ("window-other",),
    "blinds": ("window-blind",),
    "shelves": ("shelf",),
    "mirror": ("mirror-stuff",),
    "ceiling": ("ceiling-merged",),
    "books": ("book",),
    "refridgerator": ("refrigerator",),
    "television": ("tv",),
    "paper": ("paper-merged",),
    "floor mat": ("rug-merged",),
    "lamp": ("light",),
}
CROP = (slice(45, 471), slice(41, 601))
SIZE = (480, 640)


class Nyu(Samples):
    """The test pictures, with one more array of the file, `part`, of numbers of the kinds `kinds`."""

    part, kinds = "", ""

    def __init__(self, root: Path) -> None:
        self.root = root
        for package in ("h5py", "scipy"):
            if find_spec(package) is None:
                raise PluginError(f"NYUv2 is read by {package}; pip install 'anymodal[eval]'")
        import h5py

        for name in (FILE, SPLITS):
            if not (root / name).is_file():
                raise DataError(f"{root} has no {name}; NYUv2 is the labeled file and its splits")
        try:
            self.file = h5py.File(root / FILE, "r")
            self.images, self.truths = self.file["images"], self.file[self.part]
            count, shapes = len(self.images), (self.images.shape[1:], self.truths.shape[1:])
        except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{root / FILE} cannot be read: {one_line(error, 200)}") from None
        if shapes != ((3, *SIZE[::-1]), SIZE[::-1]) or len(self.truths) != count:
            raise DataError(f"{root / FILE} holds images {self.images.shape} and {self.part} {self.truths.shape}")
        if self.images.dtype != np.uint8 or self.truths.dtype.kind not in self.kinds:
            raise DataError(f"{root / FILE} holds images of {self.images.dtype} and {self.part} of {self.truths.dtype}")
        for name, each in (("images", self.images), (self.part, self.truths)):
            if not isinstance(self.file.get(name, getlink=True), h5py.HardLink) or each.external or each.is_virtual:
                raise DataError(f"{root / FILE} has its {name} in another file, which is not opened")
        self.rows = rows_of_split(root / SPLITS, count)

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, number: int) -> str:
        return f"{self.rows[number] + 1:04d}"

    def state(self, count: int) -> object:
        return stamps([self.root / FILE, self.root / SPLITS])

    def read(self, number: int) -> Sample:
        row = self.rows[number]
        try:
            picture, truth = self.images[row].transpose(2, 1, 0), self.truths[row].T
        except (OSError, RuntimeError) as error:
            raise ValueProblem(f"{FILE} cannot be read at {row + 1}: {one_line(error, 200)}") from None
        return Sample({"rgb": np.ascontiguousarray(picture, np.uint8)}, self.true(truth))

    def true(self, found: np.ndarray) -> np.ndarray:
        """What a row (480, 640) of the array says."""
        raise NotImplementedError


class NyuDepth(Nyu):
    """Depth in meters, 0 outside the crop that counts."""

    part, kinds = "depths", "f"

    def true(self, found: np.ndarray) -> np.ndarray:
        truth, depth = np.zeros(SIZE, np.float32), single(found)
        truth[CROP] = np.where(np.isfinite(depth) & (depth > 0), depth, 0)[CROP]
        return truth


class NyuSemseg(Nyu):
    """Classes by their names in the numbering of a model; pixels of classes that it does not have are 255."""

    part, kinds = "labels", "u"

    def __init__(self, root: Path, known: tuple[str, ...], classes: int = 40) -> None:
        super().__init__(root)
        numbers, names = mapping(root, classes)
        spelled = {k: [name, *ALSO.get(name.lower(), ())] for k, name in enumerate(names, 1)}
        found, lost = class_table(spelled, known)
        if not found:
            raise DataError(f"none of the {classes} classes is one of the model's, such as {', '.join(known[:3])}")
        self.notes = lost_note(lost, len(names))
        own = np.array([NONE, *(found.get(k, NONE) for k in range(1, len(names) + 1))], np.uint8)
        self.table = own[numbers]

    def state(self, count: int) -> object:
        return [super().state(count), stamps([self.root / MAPPING40, self.root / MAPPING13])]

    def true(self, found: np.ndarray) -> np.ndarray:
        if found.max(initial=0) >= len(self.table):
            raise ValueProblem(f"{FILE} has the label {found.max()}, and {MAPPING40} ends at {len(self.table) - 1}")
        return self.table[found]


def same_classes(known: Sequence[str]) -> np.ndarray:
    """The class (256,) that each class of a model counts as, where NYUv2 has one for several of them."""
    numbers, same = {name.lower(): k for k, name in enumerate(known)}, np.arange(NONE + 1)
    for name, others in ALSO.items():
        group = [numbers[each] for each in (name, *others) if each in numbers]
        same[group[1:]] = group[0] if group else 0
    return same


def mapping(root: Path, classes: int) -> tuple[np.ndarray, list[str]]:
    """The class of each label, from 0 for none, and the names of the classes from 1 on. Raises DataError."""
    numbers, names = _mapping(root / MAPPING40, lambda raw: (raw["mapClass"], raw["className"]))
    if classes == 13:
        fewer, names = _mapping(root / MAPPING13, lambda raw: tuple(raw["classMapping13"].ravel()[0])[:2])
        if numbers.max() >= len(fewer):
            raise DataError(f"{root / MAPPING13} has {len(fewer) - 1} classes of the {numbers.max()} before it")
        numbers = fewer[numbers]
    return numbers, names


def _mapping(path: Path, parts: Callable[[Any], Any]) -> tuple[np.ndarray, list[str]]:
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError(f"{path.parent} has no {path.name}, which says what class a label of NYUv2 is")
    try:
        numbers, names = parts(loadmat(path))
        numbers = np.array([0, *(_whole(number) for number in numbers.ravel())], np.int64)
        names = [str(name.ravel()[0] if isinstance(name, np.ndarray) else name).strip() for name in names.ravel()]
    except Exception as error:  # the reader of damaged files raises whatever they lead it to
        raise DataError(f"{path} holds no mapping that can be read: {one_line(error, 200)}") from None
    if numbers.min() < 0 or numbers.max() > len(names) or len(names) >= NONE:
        raise DataError(f"{path} has the classes {numbers.min()} to {numbers.max()} and {len(names)} names")
    return numbers, names


def rows_of_split(path: Path, count: int) -> list[int]:
    """The rows of the test pictures, from 0. Raises DataError."""
    from scipy.io import loadmat

    try:
        found: Any = loadmat(path, variable_names=["testNdxs"])["testNdxs"].ravel()
        rows = [_whole(row) - 1 for row in found]
    except Exception as error:  # the reader of damaged files raises whatever they lead it to
        raise DataError(f"{path} has no testNdxs that can be read: {one_line(error, 200)}") from None
    if not rows or min(rows) < 0 or max(rows) >= count:
        named = [brief(row) for row in (min(rows, default=0) + 1, max(rows, default=-1) + 1)]
        raise DataError(f"{path} names the pictures {named[0]} to {named[1]} of {count}")
    if len(set(rows)) < len(rows):
        raise DataError(f"{path} names one of its pictures twice")
    return rows


def _whole(number: Any) -> int:
    """A number of MATLAB, which are often floats. Raises ValueError for one that is no whole number."""
    if int(number) != number:
        raise ValueError(f"{number} is no whole number")
    return int(number)
