"""Boxes of a picture with their classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from anymodal.errors import ConfigError, DataError
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.transfer.tuning.centers import Center, CenterSolver, center_targets
from anymodal.transfer.tuning.tasks import TASKS, ModalityTask, Solver, class_names

if TYPE_CHECKING:
    from torch import Tensor


class BoxSolver(CenterSolver):
    """Centers of boxes, where they are in their cells, and their sizes in fractions of the picture."""

    numbers = 2
    weights: ClassVar[Mapping[str, float]] = {"size": 5.0}  # as DETR weighs them (arXiv 2005.12872)

    def __init__(self, modality: Modality, names: Sequence[str]) -> None:
        self.modality, self.names = modality, list(names)
        self.facts, self.channels = {"classes": list(names)}, len(names) + 2 + self.numbers

    def targets(self, truth: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        centers = []
        for x0, y0, x1, y1, name in boxes_of(self.modality, truth):
            if name in self.names and x1 > x0 and y1 > y0:
                at, size = ((x0 + x1) / 2, (y0 + y1) / 2), np.array([x1 - x0, y1 - y0])
                centers.append(Center(at, float(size.min()), self.names.index(name), size))
        centers.sort(key=lambda center: -float(np.prod(center.numbers)))
        return center_targets(centers, len(self.names), self.numbers, shape)

    def number_losses(self, found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        return {"size": (found - wanted).abs().sum()}

    def values(self, said: Tensor, focal: float | None = None) -> list[Any]:
        found = []
        for peaks in self.peaks(said):
            boxes = []
            for peak in peaks:
                half = np.abs(peak.numbers) / 2
                corners = [peak.at[0] - half[0], peak.at[1] - half[1], peak.at[0] + half[0], peak.at[1] + half[1]]
                clipped = [float(np.clip(each, 0, 1)) for each in corners]
                boxes.append({"boxes": clipped, "class_name": self.names[peak.label], "score": peak.score})
            found.append(self.modality.accept({"instances": boxes}))
        return found

    def score(self, predictions: Sequence[Any], truths: Sequence[Any]) -> dict[str, float]:
        with blame(self.modality, "score"):
            return {k: float(v) for k, v in self.modality.score(list(predictions), list(truths)).items()}


def boxes_of(modality: Modality, value: Any) -> list[tuple[float, float, float, float, str]]:
    """Corners and class names of a value, without crowds. Raises ConfigError for a modality that holds no boxes."""
    plain = getattr(modality, "plain", None)
    stated = plain(value) if plain is not None else None
    instances = stated.get("instances") if isinstance(stated, Mapping) else None
    if not isinstance(instances, list):
        raise ConfigError(f"{modality.name!r} holds no boxes with classes; name a modality such as det")
    return [(*map(float, each["boxes"]), each["class_name"]) for each in instances if not each.get("iscrowd")]  # type: ignore[misc]


@TASKS.add
@attrs.frozen
class Boxes(ModalityTask):
    """The boxes of the modality `to`, of the classes that the training data have."""

    name: str = attrs.field(init=False, default="boxes")
    to: str = "det"
    description: ClassVar[str] = "boxes with classes"

    def learn(self, truth: Modality, values: Iterable[Any]) -> Solver:
        names = sorted({box[4] for value in values for box in boxes_of(truth, value)})
        if not names:
            raise DataError(f"the training data have no box in {truth.name}")
        return BoxSolver(truth, names)

    def restore(self, truth: Modality, facts: Mapping[str, Any]) -> Solver:
        return BoxSolver(truth, class_names(facts))
