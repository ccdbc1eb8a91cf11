"""Tasks of COCO 2017."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from anymodal.evaluation.tasks.base import TASKS
from anymodal.evaluation.tasks.kinds import CaptionTask, DetTask, SemsegTask
from anymodal.evaluation.tasks.outlines import OutlineTask

if TYPE_CHECKING:
    from anymodal.evaluation.layouts.base import Samples
    from anymodal.tokens import ModalitySet

LICENSE = "annotations CC BY 4.0, pictures by the terms of Flickr"


@TASKS.add
@attrs.frozen
class CocoSemsegTask(SemsegTask):
    name: str = attrs.field(init=False, default="coco_semseg")
    description: ClassVar[str] = "classes of COCO's panoptic validation part"
    layout: ClassVar[str] = "val2017/*.jpg, annotations/panoptic_val2017.json and panoptic_val2017/*.png"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco import CocoPanoptic

        return CocoPanoptic(data, modalities[self.target].classes)  # type: ignore[attr-defined]


@TASKS.add
@attrs.frozen
class CocoCaptionTask(CaptionTask):
    name: str = attrs.field(init=False, default="coco_caption")
    description: ClassVar[str] = "captions of COCO's validation part"
    layout: ClassVar[str] = "val2017/*.jpg and annotations/captions_val2017.json"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco import CocoCaptions

        return CocoCaptions(data)


@TASKS.add
@attrs.frozen
class CocoDetTask(DetTask):
    name: str = attrs.field(init=False, default="coco_det")
    description: ClassVar[str] = "boxes of COCO's validation part"
    layout: ClassVar[str] = "val2017/*.jpg and annotations/instances_val2017.json"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco_instances import CocoBoxes

        return CocoBoxes(data)


@TASKS.add
@attrs.frozen
class CocoInstanceTask(OutlineTask):
    name: str = attrs.field(init=False, default="coco_instance")
    description: ClassVar[str] = "outlines of COCO's instances, each asked for by its true box"
    layout: ClassVar[str] = "val2017/*.jpg and annotations/instances_val2017.json"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco_instances import CocoOutlines

        return CocoOutlines(data)
