"""NYU Depth v2 (Silberman et al. 2012): `nyu_depth_v2_labeled.mat`, and `splits.mat` with the test pictures.

The file is HDF5 written by MATLAB, so that h5py sees the axes in reverse: `images` uint8 (1449, 3, 640, 480), `depths`
float32 (1449, 640, 480) in meters, filled in. `testNdxs` of `splits.mat` are 654 numbers that begin at 1. Scores are
taken within the crop of Eigen et al. (2014): rows 45 to 471, columns 41 to 601.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.errors import DataError, PluginError, ValueProblem, one_line
from anymodal.evaluation.layouts.base import Sample, Samples, single, stamps

FILE, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
CROP = (slice(45, 471), slice(41, 601))
SIZE = (480, 640)


class NyuDepth(Samples):
    """Depth in meters, 0 outside the crop that counts."""

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
            self.images, self.depths = self.file["images"], self.file["depths"]
            count, shapes = len(self.images), (self.images.shape[1:], self.depths.shape[1:])
        except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{root / FILE} cannot be read: {one_line(error, 200)}") from None
        if shapes != ((3, *SIZE[::-1]), SIZE[::-1]) or len(self.depths) != count:
            raise DataError(f"{root / FILE} holds images {self.images.shape} and depths {self.depths.shape}")
        kinds = (self.images.dtype, self.depths.dtype.kind)
        if kinds != (np.uint8, "f"):
            raise DataError(f"{root / FILE} holds images of {kinds[0]} and depths of {self.depths.dtype}")
        for name, each in (("images", self.images), ("depths", self.depths)):
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
            picture, depth = self.images[row].transpose(2, 1, 0), self.depths[row].T
        except (OSError, RuntimeError) as error:
            raise ValueProblem(f"{FILE} cannot be read at {row + 1}: {one_line(error, 200)}") from None
        truth = np.zeros(SIZE, np.float32)
        depth = single(depth)
        truth[CROP] = np.where(np.isfinite(depth) & (depth > 0), depth, 0)[CROP]
        return Sample({"rgb": np.ascontiguousarray(picture, np.uint8)}, truth)


def rows_of_split(path: Path, count: int) -> list[int]:
    """The rows of the test pictures, from 0. Raises DataError."""
    from scipy.io import loadmat

    try:
        found: Any = loadmat(path, variable_names=["testNdxs"])["testNdxs"].ravel()
        rows = [int(row) - 1 for row in found]
    except Exception as error:  # the reader of damaged files raises whatever they lead it to
        raise DataError(f"{path} has no testNdxs that can be read: {one_line(error, 200)}") from None
    if not rows or min(rows) < 0 or max(rows) >= count:
        raise DataError(
            f"{path} names the pictures {min(rows, default=0) + 1} to {max(rows, default=-1) + 1} of {count}"
        )
    return rows
