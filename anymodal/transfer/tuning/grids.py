"""Grids of classes or numbers, such as semantic classes, depth and surface normals.

Shapes: B samples, C numbers a pixel or classes, H x W pixels, h x w cells of the head's map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.evaluation import TASKS as EVALUATIONS
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.transfer.tuning.tasks import TASKS, ModalityTask, Solver

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from anymodal.lazy import torch

FINER = 4  # cells of the head's map a side, for each cell of the encoder's
MOST_CHANNELS, LONGEST = 4096, 2**14  # pixels a side


class GridSolver(Solver):
    """Cross-entropy of the classes of pixels, or their absolute errors, in the range that the modality is read in.

    Pixels of which nothing is known do not count. `classes`: whether the grid holds classes, of which 0 is none.
    """

    cells = FINER

    def __init__(self, modality: Modality, channels: int, classes: bool, size: tuple[int, int]) -> None:
        self.modality, self.channels, self.classes, self.size = modality, channels, classes, size
        self.facts = {"channels": channels, "classes": classes, "size": list(size)}

    def targets(self, truth: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        with blame(self.modality, "preprocess"):
            tensor = self.modality.preprocess(truth)
            measured = self.modality.measured(truth)
        size = tensor.shape[-2:]
        known = np.ones(size, bool) if measured is None or measured.shape != size else np.asarray(measured)
        return {"grid": tensor, "known": known & (tensor > 0) if self.classes else known}

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        return targets["known"].sum().double().reshape(1).cpu()

    def losses(self, said: Tensor, targets: Mapping[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        grid, known, total = targets["grid"], targets["known"], totals[0].float().clamp_min(1)
        said = torch.nn.functional.interpolate(said, self.size, mode="bilinear", align_corners=False)
        if not self.classes:
            return {"loss": ((said - grid).abs().mean(1) * known).sum() / total}
        loss = (torch.nn.functional.cross_entropy(said, grid, reduction="none") * known).sum() / total
        right = ((said[:, 1:].argmax(1) + 1 == grid) & known).float().sum() / total
        return {"loss": loss, "accuracy": right}

    def values(self, said: Tensor, focal: float | None = None) -> list[Any]:
        said = torch.nn.functional.interpolate(said, self.size, mode="bilinear", align_corners=False)
        if self.classes:
            said[:, 0] = torch.finfo(said.dtype).min  # none is no answer
        with blame(self.modality, "postprocess"):
            return [self.modality.postprocess(each) for each in said.cpu().numpy()]

    def score(self, predictions: Sequence[Any], truths: Sequence[Any]) -> dict[str, float]:
        """By the metric of an evaluation task with this target, or else by the modality's own scores."""
        evaluation = next((t for name in EVALUATIONS if (t := EVALUATIONS[name]).target == self.modality.name), None)
        if evaluation is None:
            with blame(self.modality, "score"):
                return {k: float(v) for k, v in self.modality.score(list(predictions), list(truths)).items()}
        metric = evaluation().metric(self.modality)
        for prediction, truth in zip(predictions, truths, strict=True):
            metric.update(prediction, truth)
        return metric.compute()


@TASKS.add
@attrs.frozen
class Grid(ModalityTask):
    """A grid modality `to`, pixel by pixel: with the settings it has in the model, or, if that lacks it, `settings`."""

    name: str = attrs.field(init=False, default="dense")
    description: ClassVar[str] = "a grid of classes or numbers, such as semseg, depth or normal"

    def learn(self, truth: Modality, values: Iterable[Any]) -> Solver:
        value = next(iter(values), None)
        if value is None:
            raise DataError(f"the training data have no {truth.name}")
        if type(truth).preprocess is Modality.preprocess:
            raise ConfigError(f"{truth.name!r} is no grid of classes or numbers")
        tensor = truth.preprocess(value)
        classes = tensor.ndim == 2 and tensor.dtype.kind in "iu"
        if not classes and (tensor.ndim != 3 or tensor.dtype.kind != "f"):
            raise ConfigError(f"{truth.name!r} is no grid of classes or numbers")
        channels = len(getattr(truth, "known", ())) + 1 if classes else tensor.shape[0]
        return GridSolver(truth, channels, classes, (tensor.shape[-2], tensor.shape[-1]))

    def restore(self, truth: Modality, facts: Mapping[str, Any]) -> Solver:
        channels, classes, size = facts.get("channels"), facts.get("classes"), facts.get("size")
        sound = type(channels) is int and 0 < channels <= MOST_CHANNELS and isinstance(classes, bool)
        sides = size if isinstance(size, list) and len(size) == 2 else [0]
        if not sound or not all(type(each) is int and 0 < each <= LONGEST for each in sides):
            raise CheckpointError(f"the result of this transfer is damaged: its grid of {truth.name} cannot be")
        assert type(channels) is int and isinstance(classes, bool)
        return GridSolver(truth, channels, classes, (sides[0], sides[1]))
