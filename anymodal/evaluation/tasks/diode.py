"""Tasks of DIODE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.kinds import DepthTask, NormalTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.tokens import ModalitySet


@TASKS.add
@attrs.frozen
class DiodeDepthTask(DepthTask):
    name: str = attrs.field(init=False, default="diode_depth")
    description: ClassVar[str] = "depth of DIODE's validation part"
    layout: ClassVar[str] = "val/indoors/scene_*/scan_*/*.png with *_depth.npy and *_depth_mask.npy"
    license: ClassVar[str] = "MIT (diode-dataset.org)"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.diode import DiodeDepth

        return DiodeDepth(data)


@TASKS.add
@attrs.frozen
class DiodeNormalTask(NormalTask):
    """`axes` are the signs by which the files' x, y and z become right, up and towards the camera."""

    name: str = attrs.field(init=False, default="diode_normal")
    axes: tuple[int, ...] = (1, 1, 1)
    description: ClassVar[str] = "surface normals of DIODE's validation part"
    layout: ClassVar[str] = "val/indoors/scene_*/scan_*/*.png with *_normal.npy"
    license: ClassVar[str] = "MIT (diode-dataset.org)"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.diode import DiodeNormal

        return DiodeNormal(data, self.axes)
