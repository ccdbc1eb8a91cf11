"""DIODE (Vasiljevic et al. 2019, arXiv 1908.00463): `val/indoors/scene_00019/scan_00183/*.png` and files beside them.

`NAME_depth.npy` is float32 (768, 1024, 1) in meters, `NAME_depth_mask.npy` (768, 1024) of 1 where a depth is valid,
`NAME_normal.npy` (768, 1024, 3), zero where there is no surface.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anymodal.errors import ConfigError, ValueProblem, brief
from anymodal.evaluation.layouts.base import FileSamples, Sample, array, listed, photograph, single

PARTS = ("indoors", "outdoor")


class DiodeDepth(FileSamples):
    """Depth in meters, 0 where the mask says that it is not valid."""

    layout = "val/indoors/scene_*/scan_*/*.png with *_depth.npy and *_depth_mask.npy"

    def __init__(self, root: Path) -> None:
        super().__init__(root, pictures(root))

    def parts(self, number: int) -> list[Path]:
        return beside(self.root / self.files[number], "depth", "depth_mask")

    def read(self, number: int) -> Sample:
        path, depths, masks = self.parts(number)
        picture = photograph(path)
        depth = single(array(depths, picture.shape[:2], "f"))
        mask = array(masks, picture.shape[:2])
        valid = (mask > 0) & np.isfinite(depth) & (depth > 0)
        if not valid.any():
            raise ValueProblem(f"{path.stem}_depth.npy has no valid depth")
        return Sample({"rgb": picture}, np.where(valid, depth, np.float32(0)))


class DiodeNormal(FileSamples):
    """Normals; `axes` are the signs by which x, y and z become right, up and towards the camera."""

    layout = "val/indoors/scene_*/scan_*/*.png with *_normal.npy"

    def __init__(self, root: Path, axes: tuple[int, ...] = (1, 1, 1)) -> None:
        super().__init__(root, pictures(root))
        if not isinstance(axes, (tuple, list)) or len(axes) != 3 or any(sign not in (-1, 1) for sign in axes):
            raise ConfigError(f"axes are three signs, 1 or -1, got {brief(axes)}")
        self.axes = axes
        self.notes = [f"normals are read with the signs {list(axes)} of x, y and z"]

    def parts(self, number: int) -> list[Path]:
        return beside(self.root / self.files[number], "normal")

    def read(self, number: int) -> Sample:
        path, normals = self.parts(number)
        picture = photograph(path)
        normal = single(array(normals, (*picture.shape[:2], 3), "f"))
        known = np.isfinite(normal).all(-1, keepdims=True)
        return Sample({"rgb": picture}, np.where(known, normal * np.array(self.axes, np.float32), np.float32(0)))


def beside(picture: Path, *kinds: str) -> list[Path]:
    """A picture, and its arrays of these kinds."""
    return [picture, *(picture.with_name(f"{picture.stem}_{kind}.npy") for kind in kinds)]


def pictures(root: Path) -> list[str]:
    """The pictures of the validation part: `root` is what was unpacked, or its folder `val`."""
    base = "val/" if (root / "val").is_dir() else ""
    return [name for part in PARTS for name in listed(root, f"{base}{part}/scene_*/scan_*/*.png")]
