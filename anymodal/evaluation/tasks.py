"""The table of tasks: which data, from what to what, and by which metric.

Another distribution adds its own with ``@TASKS.add`` above a frozen attrs class, or by an entry point in the group
"anymodal.evaluation_tasks".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable

if TYPE_CHECKING:
    import numpy as np

    from anymodal.evaluation.layouts.base import Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet
else:
    from anymodal.lazy import np


@attrs.frozen
class Task(ABC):
    """What is evaluated. A class derived from it states its `name`, `description`, `target` and `layout`.

    inputs: the modalities that the target is generated from.
    """

    name: str = attrs.field(init=False)
    inputs: tuple[str, ...] = ("rgb",)
    description: ClassVar[str] = ""
    target: ClassVar[str] = ""
    layout: ClassVar[str] = ""

    @abstractmethod
    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        """The samples below a folder, with truths as the model's modalities have them. Raises DataError."""

    @abstractmethod
    def metric(self, modality: Modality) -> Metric:
        """What accumulates the scores of the target of a model."""

    def constant(self, truths: Sequence[Any]) -> Any:
        """One value for all samples, fitted to some truths; None where that means nothing."""
        return None


TASKS = SettingsTable(Task, "evaluation task")  # type: ignore[type-abstract]


@attrs.frozen
class DepthTask(Task):
    """Depth, by all alignments that mean something for the model."""

    target: ClassVar[str] = "depth"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.depth import ALIGNMENTS, FREE, DepthErrors

        return DepthErrors(ALIGNMENTS if getattr(modality, "unit", "") else FREE)

    def constant(self, truths: Sequence[Any]) -> Any:
        """The median depth of each pixel."""
        stacked = np.stack([np.where(np.isfinite(t) & (t > 0), t, np.nan) for t in truths])
        known = stacked[np.isfinite(stacked)]
        whole = float(np.median(known)) if known.size else 1.0
        filled = np.where(np.isfinite(stacked).any(0), stacked, whole)
        return np.nanmedian(filled, axis=0).astype(np.float32)


@attrs.frozen
class NormalTask(Task):
    """Surface normals."""

    target: ClassVar[str] = "normal"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.normals import NormalErrors

        return NormalErrors()

    def constant(self, truths: Sequence[Any]) -> Any:
        """The mean normal of each pixel."""
        whole = np.mean(truths, axis=0)
        return (whole / np.maximum(np.linalg.norm(whole, axis=-1, keepdims=True), 1e-6)).astype(np.float32)


@attrs.frozen
class SemsegTask(Task):
    """Semantic classes."""

    target: ClassVar[str] = "semseg"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.classes import ClassOverlap

        return ClassOverlap(len(modality.classes))  # type: ignore[attr-defined]

    def constant(self, truths: Sequence[Any]) -> Any:
        """The most frequent class of each pixel."""
        stacked = np.stack(truths).astype(np.int64)
        counts = np.stack([(stacked == k).sum(0) for k in range(256)])
        counts[255] = -1  # none of the classes
        return counts.argmax(0).astype(np.uint8)


@attrs.frozen
class CaptionTask(Task):
    """Captions."""

    target: ClassVar[str] = "caption"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.texts import CaptionOverlap

        return CaptionOverlap()

    def constant(self, truths: Sequence[Any]) -> Any:
        """The truth that shares most words with the others."""
        from anymodal.evaluation.texts import shared
        from anymodal.text import words_of

        whole = [words_of(each if isinstance(each, str) else each[0]) for each in truths]
        usable = [k for k, words in enumerate(whole) if words]
        if not usable:
            return None
        best = max(usable, key=lambda k: sum(shared(whole[k], whole[other]) for other in usable))
        return truths[best] if isinstance(truths[best], str) else truths[best][0]


@TASKS.add
@attrs.frozen
class DiodeDepthTask(DepthTask):
    name: str = attrs.field(init=False, default="diode_depth")
    description: ClassVar[str] = "depth of DIODE's validation part"
    layout: ClassVar[str] = "val/indoors/scene_*/scan_*/*.png with *_depth.npy and *_depth_mask.npy"

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

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.diode import DiodeNormal

        return DiodeNormal(data, self.axes)


@TASKS.add
@attrs.frozen
class NyuDepthTask(DepthTask):
    name: str = attrs.field(init=False, default="nyu_depth")
    description: ClassVar[str] = "depth of the 654 test pictures of NYUv2"
    layout: ClassVar[str] = "nyu_depth_v2_labeled.mat and splits.mat"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.nyu import NyuDepth

        return NyuDepth(data)


@TASKS.add
@attrs.frozen
class CocoSemsegTask(SemsegTask):
    name: str = attrs.field(init=False, default="coco_semseg")
    description: ClassVar[str] = "classes of COCO's panoptic validation part"
    layout: ClassVar[str] = "val2017/*.jpg, annotations/panoptic_val2017.json and panoptic_val2017/*.png"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco import CocoPanoptic

        return CocoPanoptic(data, modalities[self.target].classes)  # type: ignore[attr-defined]


@TASKS.add
@attrs.frozen
class AdeSemsegTask(SemsegTask):
    name: str = attrs.field(init=False, default="ade20k_semseg")
    description: ClassVar[str] = "classes of ADE20K's validation part, as far as the model has them"
    layout: ClassVar[str] = "images/validation/*.jpg, annotations/validation/*.png, objectInfo150.txt"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.ade20k import Ade20k

        return Ade20k(data, modalities[self.target].classes)  # type: ignore[attr-defined]


@TASKS.add
@attrs.frozen
class CocoCaptionTask(CaptionTask):
    name: str = attrs.field(init=False, default="coco_caption")
    description: ClassVar[str] = "captions of COCO's validation part"
    layout: ClassVar[str] = "val2017/*.jpg and annotations/captions_val2017.json"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco import CocoCaptions

        return CocoCaptions(data)


class _Aligned:
    """Opens any aligned dataset."""

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.aligned import AlignedSamples

        return AlignedSamples(data, self.inputs, self.target, modalities)  # type: ignore[attr-defined]


ALIGNED = "an aligned dataset, such as `anymodal scenes` writes"


@TASKS.add
@attrs.frozen
class AlignedDepthTask(_Aligned, DepthTask):
    name: str = attrs.field(init=False, default="depth")
    description: ClassVar[str] = "depth of a dataset of your own"
    layout: ClassVar[str] = ALIGNED


@TASKS.add
@attrs.frozen
class AlignedNormalTask(_Aligned, NormalTask):
    name: str = attrs.field(init=False, default="normal")
    description: ClassVar[str] = "surface normals of a dataset of your own"
    layout: ClassVar[str] = ALIGNED


@TASKS.add
@attrs.frozen
class AlignedSemsegTask(_Aligned, SemsegTask):
    name: str = attrs.field(init=False, default="semseg")
    description: ClassVar[str] = "classes of a dataset of your own"
    layout: ClassVar[str] = ALIGNED


@TASKS.add
@attrs.frozen
class AlignedCaptionTask(_Aligned, CaptionTask):
    name: str = attrs.field(init=False, default="caption")
    description: ClassVar[str] = "captions of a dataset of your own"
    layout: ClassVar[str] = ALIGNED
