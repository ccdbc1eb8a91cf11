"""Tasks of NYU Depth v2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.errors import ConfigError
from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.kinds import DepthTask, SemsegTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet

LICENSE = "stated nowhere; for research by its authors' page"


@TASKS.add
@attrs.frozen
class NyuDepthTask(DepthTask):
    name: str = attrs.field(init=False, default="nyu_depth")
    description: ClassVar[str] = "depth of the 654 test pictures of NYUv2"
    layout: ClassVar[str] = "nyu_depth_v2_labeled.mat and splits.mat"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.nyu import NyuDepth

        return NyuDepth(data)


@TASKS.add
@attrs.frozen
class NyuSemsegTask(SemsegTask):
    """`classes` is how many the 894 labels are brought together in: 40 or 13."""

    name: str = attrs.field(init=False, default="nyu_semseg")
    classes: int = 40
    description: ClassVar[str] = "classes of the 654 test pictures of NYUv2, as far as the model has them"
    layout: ClassVar[str] = "nyu_depth_v2_labeled.mat, splits.mat, classMapping40.mat, and class13Mapping.mat for 13"
    license: ClassVar[str] = LICENSE

    def __attrs_post_init__(self) -> None:
        if self.classes not in (40, 13):
            raise ConfigError(f"NYUv2 has 40 or 13 classes, got {self.classes!r:.80}")

    def metric(self, modality: Modality) -> Metric:
        """Predictions that are one class in NYUv2 count as the same, such as walls of brick and of wood."""
        from anymodal.evaluation.layouts.nyu import same_classes
        from anymodal.evaluation.scores.classes import ClassOverlap

        known = modality.classes  # type: ignore[attr-defined]
        return ClassOverlap(len(known), same_classes(known))

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.nyu import NyuSemseg

        return NyuSemseg(data, modalities[self.target].classes, self.classes)  # type: ignore[attr-defined]
