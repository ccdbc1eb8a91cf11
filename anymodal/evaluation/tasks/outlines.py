"""The task of outlines that are asked for by their true boxes (4M-21, arXiv 2406.09406)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.errors import ValueProblem
from anymodal.evaluation.tasks.base import Request, Task

if TYPE_CHECKING:
    import numpy as np

    from anymodal.anymodel import AnyModel
    from anymodal.evaluation.layouts.base import Sample
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
else:
    from anymodal.lazy import np


SIDE = 64  # pixels a side at which an instance has to be seen at all


@attrs.frozen(eq=False)
class QueriedInstance:
    """A true instance: the value of the target that it alone is, and its class."""

    value: list[Any]
    class_name: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) in fractions of the picture."""
        x0, y0, x1, y1 = self.value[0].box
        return max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1)

    @property
    def corners(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(xmin, ymin) and (xmax, ymax)."""
        x0, y0, x1, y1 = self.box
        return (x0, y0), (x1, y1)

    def box_pixels(self, side: int) -> np.ndarray:
        """The mask of its box."""
        centers = (np.arange(side) + 0.5) / side
        x0, y0, x1, y1 = self.box
        return ((centers >= y0) & (centers <= y1))[:, None] & ((centers >= x0) & (centers <= x1))[None]


@attrs.frozen
class OutlineTask(Task):
    """Outlines of instances, each asked for by its true box alone. Truths are pairs of a class and an outline."""

    target: ClassVar[str] = "sam_instance"

    def fit(self, model: AnyModel, sample: Sample) -> Sample:
        """Instances one by one, so that each keeps its class; those outside of the centered square go."""
        inputs = model.accept(sample.inputs)
        found = []
        for class_name, outline in sample.truth:
            given = outline if isinstance(outline, np.ndarray) else [outline]
            value = model.accept({**sample.inputs, self.target: given})[self.target]
            if value and value[0].pixels(SIDE, SIDE).any():
                found.append(QueriedInstance(value[:1], class_name))
        if not found:
            raise ValueProblem("no instance of it lies in the centered square")
        return attrs.evolve(sample, inputs=inputs, truth=found)

    def requests(self, sample: Sample) -> Sequence[Request]:
        return [Request(sample.inputs, start={self.target: {"boxes": [each.box]}}) for each in sample.truth]

    def values(self, truth: Any) -> Sequence[Any]:
        return [each.value for each in truth]

    def joined(self, values: Sequence[Any]) -> Any:
        """The one instance of each request, None where there is none."""
        return [value[0] if value else None for value in values]

    def moved(self, prediction: Any, source: Any, truth: Any) -> Any:
        """Outlines of another sample, each from its own box into one that was asked for."""
        found: list[Any] = []
        for number, asked in enumerate(truth):
            other = prediction[number % len(prediction)] if prediction else None
            if other is not None:
                low, high, new_low, new_high = (
                    np.array(corner) for each in (source[number % len(source)], asked) for corner in each.corners
                )
                scale = (new_high - new_low) / np.maximum(high - low, 1e-9)
                moved = (((outline - low) * scale + new_low).clip(0, 1) for outline in other.outlines)
                other = attrs.evolve(other, outlines=tuple(moved), codes=None)
            found.append(other)
        return found

    def shown(self, prediction: Any) -> Any:
        return [each for each in prediction if each is not None]

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.precision import OutlinePrecision

        return OutlinePrecision()

    def constant(self, truths: Sequence[Any]) -> Any:
        """The whole box."""
        return "box"
