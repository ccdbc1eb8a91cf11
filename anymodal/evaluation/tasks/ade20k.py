"""The task of ADE20K."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.kinds import SemsegTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.tokens import ModalitySet


@TASKS.add
@attrs.frozen
class AdeSemsegTask(SemsegTask):
    name: str = attrs.field(init=False, default="ade20k_semseg")
    description: ClassVar[str] = "classes of ADE20K's validation part, as far as the model has them"
    layout: ClassVar[str] = "images/validation/*.jpg, annotations/validation/*.png, objectInfo150.txt"
    license: ClassVar[str] = "annotations BSD-3-Clause, pictures for research and teaching only"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.ade20k import Ade20k

        return Ade20k(data, modalities[self.target].classes)  # type: ignore[attr-defined]
