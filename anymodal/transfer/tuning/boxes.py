"""Boxes of a picture with their classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from anymodal.errors import ConfigError, DataError
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.transfer.tuning.centers import (
    Center,
    at_centers,
    center_targets,
    heat_bias,
    heat_loss,
    object_counts,
    peaks_of,
)
from anymodal.transfer.tuning.grids import known_or_new
from anymodal.transfer.tuning.tasks import TASKS, Solver, Task, class_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anymodal.tokens import ModalitySet

FINER = 2
SIZE_WEIGHT = 5.0  # of errors in fractions of the picture, as DETR weighs them (arXiv 2005.12872)


class BoxSolver(Solver):
    """Centers of boxes, where they are in their cells, and their sizes in fractions of the picture."""

    cells = FINER

    def __init__(self, modality: Modality, names: Sequence[str]) -> None:
        self.modality, self.names = modality, list(names)
        self.facts, self.channels = {"classes": list(names)}, len(names) + 4

    def targets(self, truth: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        centers = []
        for x0, y0, x1, y1, name in boxes_of(self.modality, truth):
            if name in self.names and x1 > x0 and y1 > y0:
                at, size = ((x0 + x1) / 2, (y0 + y1) / 2), np.array([x1 - x0, y1 - y0])
                centers.append(Center(at, float(size.min()), self.names.index(name), size))
        centers.sort(key=lambda center: -float(np.prod(center.numbers)))
        return center_targets(centers, len(self.names), 2, shape)

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        return object_counts(targets)

    def losses(self, said: Tensor, targets: Mapping[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        classes, total = len(self.names), totals[0].float().clamp_min(1)
        heat = heat_loss(said[:, :classes], targets["heat"]) / total
        there = (targets["cell"] >= 0)[..., None]
        error = (at_centers(said[:, classes:], targets["cell"]) - targets["numbers"]).abs() * there
        place, size = error[..., :2].sum() / total, error[..., 2:].sum() / total
        return {"loss": heat + place + SIZE_WEIGHT * size, "heat": heat, "place": place, "size": size}

    def values(self, said: Tensor, focal: float | None = None) -> list[Any]:
        classes = len(self.names)
        found = []
        for peaks in peaks_of(said[:, :classes], said[:, classes:]):
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

    def initial_bias(self) -> torch.Tensor:
        return heat_bias(len(self.names), 2)


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
class Boxes(Task):
    """The boxes of the modality `to`, of the classes that the training data have."""

    name: str = attrs.field(init=False, default="boxes")
    to: str = "det"
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    description: ClassVar[str] = "boxes with classes"

    @property
    def modalities(self) -> tuple[str, ...]:
        return (self.to,)

    def truth(self, modalities: ModalitySet) -> Modality:
        return known_or_new(self.to, self.settings, modalities)

    def learn(self, truth: Modality, values: Iterable[Any]) -> Solver:
        names = sorted({box[4] for value in values for box in boxes_of(truth, value)})
        if not names:
            raise DataError(f"the training data have no box in {truth.name}")
        return BoxSolver(truth, names)

    def restore(self, truth: Modality, facts: Mapping[str, Any]) -> Solver:
        return BoxSolver(truth, class_names(facts))
