"""Tasks of retrieval: whether a sample is found by the vector that is predicted from other modalities of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.config.validators import as_tuple, names
from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.coco import LICENSE
from anymodal.evaluation.tasks.kinds import UncutTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet


@attrs.frozen
class SearchTask(UncutTask):
    """recall@k among all samples: each is asked for by `inputs`, and found by what is predicted from `found_by`."""

    inputs: tuple[str, ...] = attrs.field(default=("caption",), converter=as_tuple, validator=names)
    found_by: tuple[str, ...] = attrs.field(default=("rgb",), converter=as_tuple, validator=names)
    target: ClassVar[str] = "imagebind_global"
    bounded: ClassVar[bool] = False

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.neighbors import Recall

        return Recall()


@TASKS.add
@attrs.frozen
class AlignedSearchTask(SearchTask):
    name: str = attrs.field(init=False, default="retrieval")
    description: ClassVar[str] = "samples of a dataset of your own found by their captions"
    layout: ClassVar[str] = "an aligned dataset, such as `anymodal scenes` writes"
    license: ClassVar[str] = "that of your data"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.aligned import NamedSamples

        return NamedSamples(data, self.inputs, self.found_by, modalities)

    def reference(self, data: Path, modalities: ModalitySet, count: int) -> Samples | None:
        from anymodal.evaluation.layouts.aligned import FoundSamples

        return FoundSamples(data, self.found_by, self.inputs, modalities, count)


@TASKS.add
@attrs.frozen
class CocoSearchTask(SearchTask):
    name: str = attrs.field(init=False, default="coco_retrieval")
    description: ClassVar[str] = "pictures of COCO's validation part found by each of their captions"
    layout: ClassVar[str] = "val2017/*.jpg and annotations/captions_val2017.json"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco import CocoQueries

        return CocoQueries(data)

    def reference(self, data: Path, modalities: ModalitySet, count: int) -> Samples | None:
        from anymodal.evaluation.layouts.coco import CocoPictures

        return CocoPictures(data, count)
