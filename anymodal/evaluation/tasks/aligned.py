"""Tasks of any aligned dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.validators import unfit
from anymodal.evaluation.tasks.base import TASKS, Task
from anymodal.evaluation.tasks.kinds import CaptionTask, DepthTask, DetTask, NormalTask, SemsegTask
from anymodal.evaluation.tasks.outlines import OutlineTask, QueriedInstance
from anymodal.evaluation.tasks.people import PoseTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet

LAYOUT = "an aligned dataset, such as `anymodal scenes` writes"


class _Aligned:
    """Opens any aligned dataset."""

    layout: ClassVar[str] = LAYOUT
    license: ClassVar[str] = "that of your data"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.aligned import AlignedSamples

        own: Any = self
        return AlignedSamples(data, own.inputs, own.target, modalities)


@TASKS.add
@attrs.frozen
class AlignedDepthTask(_Aligned, DepthTask):
    name: str = attrs.field(init=False, default="depth")
    description: ClassVar[str] = "depth of a dataset of your own"


@TASKS.add
@attrs.frozen
class AlignedNormalTask(_Aligned, NormalTask):
    name: str = attrs.field(init=False, default="normal")
    description: ClassVar[str] = "surface normals of a dataset of your own"


@TASKS.add
@attrs.frozen
class AlignedSemsegTask(_Aligned, SemsegTask):
    name: str = attrs.field(init=False, default="semseg")
    description: ClassVar[str] = "classes of a dataset of your own"


@TASKS.add
@attrs.frozen
class AlignedCaptionTask(_Aligned, CaptionTask):
    name: str = attrs.field(init=False, default="caption")
    description: ClassVar[str] = "captions of a dataset of your own"


@TASKS.add
@attrs.frozen
class AlignedDetTask(_Aligned, DetTask):
    name: str = attrs.field(init=False, default="det")
    description: ClassVar[str] = "boxes of a dataset of your own"


@TASKS.add
@attrs.frozen
class AlignedPoseTask(_Aligned, PoseTask):
    name: str = attrs.field(init=False, default="pose")
    description: ClassVar[str] = "people's joints of a dataset of your own"


@TASKS.add
@attrs.frozen
class AlignedOutlineTask(OutlineTask):
    name: str = attrs.field(init=False, default="instance")
    description: ClassVar[str] = "outlines of instances of a dataset of your own, each asked for by its true box"
    layout: ClassVar[str] = LAYOUT
    license: ClassVar[str] = "that of your data"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.aligned import AlignedSamples

        return AlignedSamples(data, self.inputs, self.target, modalities, _queried)


def _queried(instances: Any) -> list[QueriedInstance]:
    return [QueriedInstance([each], "instance") for each in instances]


def _named(task: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise unfit(task, attribute, value, "the name of a modality that the model makes: --option target=NAME")


@TASKS.add
@attrs.frozen
class ScoreTask(_Aligned, Task):
    """Any modality, by the scores of its own `score`, each the mean over the samples.

    target: the modality that is generated.
    """

    name: str = attrs.field(init=False, default="score")
    target: str = attrs.field(default="", validator=_named)  # type: ignore[misc]  # of other tasks it is a fact
    description: ClassVar[str] = "any modality of a dataset of your own, by its own score"

    @property
    def title(self) -> str:
        return f"score of {self.target}"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.metrics import SampleMean

        return SampleMean(modality)
