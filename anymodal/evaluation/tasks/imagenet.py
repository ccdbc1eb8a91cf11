"""The task of ImageNet-1K: classes by the nearest pictures, as the predicted vector has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.validators import at_least, count, positive
from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.kinds import UncutTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet


@TASKS.add
@attrs.frozen
class ImagenetTask(UncutTask):
    """kNN of predicted vectors, weighted by exp(cosine / temperature).

    neighbors: how many vote. temperature: of their votes. each: only so many training pictures a class, 0 for all.
    """

    name: str = attrs.field(init=False, default="imagenet_knn")
    neighbors: int = attrs.field(default=20, validator=count(10_000))
    temperature: float = attrs.field(default=0.07, validator=positive)
    each: int = attrs.field(default=0, validator=at_least(0))
    description: ClassVar[str] = "classes of ImageNet-1K's validation part by their nearest training pictures"
    target: ClassVar[str] = "dinov2_global"
    layout: ClassVar[str] = "train/n*/*.JPEG; val/n*/*.JPEG, or val/*.JPEG with the development kit or Kaggle's table"
    license: ClassVar[str] = "non-commercial research and teaching only"
    bounded: ClassVar[bool] = False

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.imagenet import validation_pictures

        return validation_pictures(data)

    def reference(self, data: Path, modalities: ModalitySet, count: int) -> Samples | None:
        from anymodal.evaluation.layouts.imagenet import training_pictures

        return training_pictures(data, self.each)

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.neighbors import NeighborVotes

        return NeighborVotes(self.neighbors, self.temperature)

    def constant(self, truths: Sequence[Any]) -> Any:
        """The most frequent class."""
        return Counter(truths).most_common(1)[0][0]
