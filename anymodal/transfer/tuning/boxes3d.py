"""Boxes in space, in the frame of the camera: x to the right, y down, z away, in meters.

A file has, as JSON, {"focal": F, "boxes": [{"class_name", "center", "size", "rotation"}]}: F is the focal length in
widths of the picture, `size` the meters along the box's own axes (across, down, away), `rotation` (3, 3) has these axes
as columns. "middle" may say where the optical axis meets the picture, in fractions of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from anymodal.crops import Crop
from anymodal.errors import CheckpointError, DataError, ValueProblem
from anymodal.files import read_object
from anymodal.modality import Modality
from anymodal.spaces import Stream
from anymodal.transfer.tuning.centers import Center, CenterSolver, Peak, center_targets
from anymodal.transfer.tuning.solids import Solid, average_precision
from anymodal.transfer.tuning.tasks import TASKS, Solver, Task, class_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anymodal.tokens import ModalitySet
else:
    from anymodal.lazy import torch

NUMBERS = 10  # at a center: log depth, 3 of log size, 6 of rotation
MOST_BOXES = 1000
LARGEST, SMALLEST = 1e4, 1e-4  # meters, and focal lengths
MIRROR = np.diag([-1.0, 1.0, 1.0])
MIDDLE = (0.5, 0.5)
BEYOND = 1.0  # sides of the picture; centers that are farther outside, as of what is beside the camera, are not learned


@attrs.frozen(eq=False)
class SolidScene:
    """What is in front of a camera: boxes, its focal length in widths of the picture, and where its axis meets it."""

    solids: tuple[Solid, ...]
    focal: float
    middle: tuple[float, float] = MIDDLE

    def seen(self, solid: Solid) -> tuple[float, float]:
        """Where on the picture the center of a box is, in fractions."""
        x, y, z = solid.center
        return self.middle[0] + self.focal * x / z, self.middle[1] + self.focal * y / z


class SolidBoxes(Modality):
    """Boxes in space, in a JSON file of their own; no model reads or writes them."""

    name = "boxes3d"
    suffixes = (".json",)

    def streams(self) -> tuple[Stream, ...]:
        return ()

    def read(self, path: Path) -> SolidScene:
        return self.accept(read_object(path))

    def accept(self, value: Any) -> SolidScene:
        if isinstance(value, SolidScene):
            return value
        if isinstance(value, Path):
            return self.read(value)
        boxes = value.get("boxes") if isinstance(value, Mapping) else None
        if not isinstance(boxes, list) or len(boxes) > MOST_BOXES or not all(isinstance(b, Mapping) for b in boxes):
            raise ValueProblem(
                f"boxes in space are a dict with 'focal' and up to {MOST_BOXES} 'boxes', got {value!r:.80}"
            )
        focal = _numbers(value.get("focal"), (), SMALLEST)
        middle = _numbers(value.get("middle", MIDDLE), (2,))
        solids = tuple(_solid(box) for box in boxes)
        return SolidScene(solids, float(focal), (float(middle[0]), float(middle[1])))

    def crop(self, value: SolidScene, crop: Crop) -> SolidScene:
        """The same boxes seen in a part of the picture; mirrored with it."""
        across, down = (value.middle[0] - crop.left) / crop.width, (value.middle[1] - crop.top) / crop.height
        focal, solids = value.focal / crop.width, value.solids
        if crop.flip:
            across = 1 - across
            solids = tuple(
                attrs.evolve(s, center=MIRROR @ s.center, rotation=MIRROR @ s.rotation @ MIRROR) for s in solids
            )
        return SolidScene(solids, focal, (across, down))


def _numbers(value: Any, shape: tuple[int, ...], least: float = -LARGEST) -> np.ndarray:
    """Finite numbers of a shape from `least` on. Raises ValueProblem."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.shape != shape or not np.isfinite(array).all() or (array < least).any() or (array > LARGEST).any():
        wanted = "a number" if shape == () else f"numbers of shape {shape}"
        raise ValueProblem(f"boxes in space need {wanted} from {least:g} to {LARGEST:g}, got {value!r:.80}")
    return array


def _solid(box: Mapping[str, Any]) -> Solid:
    name = box.get("class_name")
    if not isinstance(name, str) or not name.strip():
        raise ValueProblem(f"a box in space has a class_name, got {name!r:.80}")
    rotation = _numbers(box.get("rotation"), (3, 3))
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0:
        raise ValueProblem(f"the rotation of a box in space is none: its columns are no right-handed axes: {rotation}")
    score = float(_numbers(box.get("score", 1.0), (), 0))
    size = _numbers(box.get("size"), (3,), SMALLEST)
    return Solid(_numbers(box.get("center"), (3,)), size, rotation, name.strip(), score)


class SolidSolver(CenterSolver):
    """Centers of boxes on the picture, how far away they are, their sizes beside the usual ones of their class, and the
    first two axes of their rotation (Zhou et al. 2019, arXiv 1812.07035).

    Distances are learned in focal lengths, for a thing twice as far looks the same through a lens twice as long. A box
    that is turned half around about its vertical is the same box.
    """

    numbers = NUMBERS

    def __init__(
        self, names: Sequence[str], sizes: Sequence[Sequence[float]], depth: Sequence[float], focal: float
    ) -> None:
        self.names, self.sizes, self.depth, self.focal = list(names), np.array(sizes), (depth[0], depth[1]), focal
        self.facts = {
            "classes": self.names, "sizes": self.sizes.tolist(), "depth": list(self.depth), "focal": float(focal),
        }  # fmt: skip
        self.channels = len(names) + 2 + NUMBERS

    def targets(self, truth: SolidScene, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        centers = []
        for solid in sorted(truth.solids, key=lambda solid: float(solid.center[2])):
            if solid.class_name not in self.names or solid.center[2] <= SMALLEST:
                continue
            u, v = truth.seen(solid)
            if not (-BEYOND < u < 1 + BEYOND and -BEYOND < v < 1 + BEYOND):
                continue
            label = self.names.index(solid.class_name)
            away = (np.log(solid.center[2] / truth.focal) - self.depth[0]) / self.depth[1]
            size = np.log(solid.size) - self.sizes[label]
            numbers = np.concatenate([[away], size, solid.rotation[:, 0], solid.rotation[:, 1]])
            spread = truth.focal * float(solid.size.min()) / float(solid.center[2])
            centers.append(Center((u, v), min(spread, 1.0), label, numbers))
        return center_targets(centers, len(self.names), NUMBERS, shape)

    def number_losses(self, found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        error = (found - wanted).abs()
        turned = (found[..., 4:7] + wanted[..., 4:7]).abs().sum(-1)
        across = torch.minimum(error[..., 4:7].sum(-1), turned)
        rotation = (across + error[..., 7:].sum(-1)).sum()
        return {"depth": error[..., 0].sum(), "size": error[..., 1:4].sum(), "rotation": rotation}

    def values(self, said: Tensor, focal: float | None = None) -> list[SolidScene]:
        length = self.focal if focal is None else focal
        return [SolidScene(tuple(self._solid(peak, length) for peak in peaks), length) for peaks in self.peaks(said)]

    def _solid(self, peak: Peak, focal: float) -> Solid:
        away = float(np.exp(np.clip(peak.numbers[0] * self.depth[1] + self.depth[0], -9, 9))) * focal
        size = np.exp(np.clip(peak.numbers[1:4] + self.sizes[peak.label], -9, 9))
        both = torch.from_numpy(peak.numbers[4:10].astype(np.float64)).reshape(2, 3)
        first = torch.nn.functional.normalize(both[0], dim=0)
        second = torch.nn.functional.normalize(both[1] - first * (first @ both[1]), dim=0)
        rotation = torch.stack([first, second, torch.linalg.cross(first, second)], 1).numpy()
        center = np.array([(peak.at[0] - 0.5) * away / focal, (peak.at[1] - 0.5) * away / focal, away])
        return Solid(center, size, rotation, self.names[peak.label], peak.score)

    def score(self, predictions: Sequence[Any], truths: Sequence[Any]) -> dict[str, float]:
        """AP3D as Omni3D has it, with the focal lengths of the truth."""
        known = [_seen_by(p, t) for p, t in zip(predictions, truths, strict=True)]
        return average_precision(known, [truth.solids for truth in truths])


def _seen_by(said: SolidScene, truth: SolidScene) -> list[Solid]:
    """What was said of a picture by a camera of the truth: as far away as looks the same through its lens."""
    ratio = truth.focal / said.focal
    moved = []
    for solid in said.solids:
        u, v = said.seen(solid)
        away = float(solid.center[2]) * ratio
        across, down = (u - truth.middle[0]) * away / truth.focal, (v - truth.middle[1]) * away / truth.focal
        moved.append(attrs.evolve(solid, center=np.array([across, down, away])))
    return moved


@TASKS.add
@attrs.frozen
class Boxes3d(Task):
    """Boxes in space, from the JSON files of the folder `labels`; see the module for what is in them."""

    name: str = attrs.field(init=False, default="boxes3d")
    labels: str = SolidBoxes.name
    description: ClassVar[str] = "boxes in space with classes"
    cut: ClassVar[bool] = True  # focal lengths are in widths of the square

    def truth(self, modalities: ModalitySet) -> Modality:
        made = SolidBoxes()
        made.name = self.labels  # type: ignore[misc]  # of the folder
        return made

    def learn(self, truth: Modality, values: Iterable[Any]) -> Solver:
        by_name: dict[str, list[np.ndarray]] = {}
        depths, focals = [], []
        for value in values:
            focals.append(value.focal)
            for solid in value.solids:
                if solid.center[2] > SMALLEST:
                    by_name.setdefault(solid.class_name, []).append(np.log(solid.size))
                    depths.append(np.log(solid.center[2] / value.focal))
        if not by_name:
            raise DataError(f"the training data have no box in {truth.name}")
        names = sorted(by_name)
        sizes = [np.mean(by_name[name], 0).tolist() for name in names]
        return SolidSolver(names, sizes, (float(np.mean(depths)), float(np.std(depths)) + 0.1), float(np.mean(focals)))

    def restore(self, truth: Modality, facts: Mapping[str, Any]) -> Solver:
        names = class_names(facts)
        try:
            sizes = _numbers(facts.get("sizes"), (len(names), 3))
            depth, focal = _numbers(facts.get("depth"), (2,)), _numbers(facts.get("focal"), (), SMALLEST)
        except ValueProblem:
            raise CheckpointError("the result of this transfer is damaged: its classes or sizes cannot be") from None
        return SolidSolver(names, sizes.tolist(), depth.tolist(), float(focal))
