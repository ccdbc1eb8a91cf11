"""The task of 3DPW."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.config.validators import count
from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.people import PoseTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.tokens import ModalitySet


@TASKS.add
@attrs.frozen
class ThreeDpwTask(PoseTask):
    """`every` takes each so many-th picture of a sequence."""

    name: str = attrs.field(init=False, default="3dpw_pose")
    every: int = attrs.field(default=1, validator=count(100_000))
    description: ClassVar[str] = "people's joints in the test sequences of 3DPW"
    layout: ClassVar[str] = "imageFiles/SEQUENCE/image_*.jpg and sequenceFiles/test/*.pkl"
    license: ClassVar[str] = "non-commercial research only; SMPL's body model by a license of its own"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.three_dpw import ThreeDpw

        return ThreeDpw(data, self.every)
