"""Tasks by what is predicted: its metric, and the constant to compare with. A data set is one more class on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.evaluation.tasks.base import Task
from anymodal.plugins.guard import blame

if TYPE_CHECKING:
    import numpy as np

    from anymodal.anymodel import AnyModel
    from anymodal.evaluation.layouts.base import Sample
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
else:
    from anymodal.lazy import np


@attrs.frozen
class DepthTask(Task):
    """Depth, by all alignments that mean something for the model."""

    target: ClassVar[str] = "depth"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.depth import ALIGNMENTS, FREE, DepthErrors

        return DepthErrors(ALIGNMENTS if getattr(modality, "unit", "") else FREE)

    def as_made(self, modality: Modality, value: Any) -> Any:
        """Relative depth in the scale and with the shift in which it is made; NaN where nothing is measured."""
        if getattr(modality, "unit", ""):
            return value
        known = modality.measured(value)
        with blame(modality, "preprocess"):
            made = modality.postprocess(modality.preprocess(value))
        return made if known is None else np.where(known, made, np.float32(np.nan))

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
        from anymodal.evaluation.scores.normals import NormalErrors

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
        from anymodal.evaluation.scores.classes import ClassOverlap

        return ClassOverlap(len(modality.classes))  # type: ignore[attr-defined]

    def constant(self, truths: Sequence[Any]) -> Any:
        """The most frequent class of each pixel."""
        stacked = np.stack(truths).astype(np.int64)
        counts = np.stack([(stacked == k).sum(0) for k in range(256)])
        counts[255] = -1  # none of the classes
        return counts.argmax(0).astype(np.uint8)


@attrs.frozen
class UncutTask(Task):
    """A task whose truths are cut with no picture, such as captions and classes."""

    def fit(self, model: AnyModel, sample: Sample) -> Sample:
        return attrs.evolve(sample, inputs=model.accept(sample.inputs))


@attrs.frozen
class CaptionTask(UncutTask):
    """Captions: truths are texts, or lists of several for one picture."""

    target: ClassVar[str] = "caption"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.texts import CaptionOverlap

        return CaptionOverlap()

    def values(self, truth: Any) -> Sequence[Any]:
        return [truth if isinstance(truth, str) else truth[0]]

    def constant(self, truths: Sequence[Any]) -> Any:
        """The truth that shares most words with the others."""
        from anymodal.evaluation.scores.texts import shared
        from anymodal.text import words_of

        whole = [words_of(self.values(each)[0]) for each in truths]
        usable = [k for k, words in enumerate(whole) if words]
        if not usable:
            return None
        best = max(usable, key=lambda k: sum(shared(whole[k], whole[other]) for other in usable))
        return self.values(truths[best])[0]


@attrs.frozen
class DetTask(Task):
    """Boxes with class names."""

    target: ClassVar[str] = "det"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.precision import BoxPrecision

        return BoxPrecision()

    def constant(self, truths: Sequence[Any]) -> Any:
        """No boxes."""
        return []
