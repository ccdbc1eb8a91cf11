"""Boxes as points of a map: a heat map of centers by class, and what is to be said at them (CenterNet, Zhou et al.
2019, arXiv 1904.07850; its boxes in space too).

Shapes: B samples, K classes, R numbers at a center, M centers of a sample at most, h x w cells of the map.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from anymodal.transfer.tuning.tasks import Solver

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from anymodal.lazy import torch

FINER = 2  # cells of the head's map a side, for each cell of the encoder's
MOST = 64  # centers of a sample
KEPT, LEAST = 40, 0.02  # predictions of a sample, and their lowest score
PRIOR = 0.1  # how likely a cell is a center before anything was learned (as RetinaNet, arXiv 1708.02002)
ALPHA, BETA = 2.0, 4.0  # of the focal loss of CornerNet (arXiv 1808.01244)
HEAT_AT_MOST = 1 - 1e-4


@attrs.frozen(eq=False)
class Center:
    """Where an object is on the picture, in fractions of it, how wide it is there, its class, and its R numbers."""

    at: tuple[float, float]
    spread: float
    label: int
    numbers: np.ndarray


@attrs.frozen(eq=False)
class Peak:
    """A center that is predicted: as `Center`, with a score."""

    at: tuple[float, float]
    label: int
    score: float
    numbers: np.ndarray


def center_targets(
    centers: Sequence[Center], classes: int, numbers: int, shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """What the head's map should say: "heat" (K, h, w); "cell" (M,), -1 where there is none; "numbers" (M, 2 + R), the
    first two of which say where in its cell a center is, in cells from the middle."""
    rows, columns = shape
    heat = np.zeros((classes, rows, columns), np.float32)
    cell, values = np.full(MOST, -1, np.int64), np.zeros((MOST, 2 + numbers), np.float32)
    y, x = np.mgrid[:rows, :columns]
    for k, center in enumerate(centers[:MOST]):
        across, down = center.at[0] * columns, center.at[1] * rows
        column = int(np.clip(np.floor(across), 0, columns - 1))
        row = int(np.clip(np.floor(down), 0, rows - 1))
        sigma = max(center.spread * max(shape) / 6, 0.5)
        bump = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
        heat[center.label] = np.maximum(heat[center.label], bump)
        cell[k] = row * columns + column
        values[k] = np.concatenate([[across - column - 0.5, down - row - 0.5], center.numbers])
    return {"heat": heat, "cell": cell, "numbers": values}


class CenterSolver(Solver):
    """What tasks with a head of centers share.

    names: of the K classes.
    numbers: R.
    weights: of losses by name, 1 where none is given.
    """

    cells = FINER
    names: list[str]
    numbers: int
    weights: ClassVar[Mapping[str, float]] = {}

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        return (targets["cell"] >= 0).sum().double().reshape(1).cpu()

    def losses(self, said: Tensor, targets: Mapping[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        classes, total = len(self.names), totals[0].float().clamp_min(1)
        wanted, found = targets["numbers"], at_centers(said[:, classes:], targets["cell"])
        there = (targets["cell"] >= 0).float()[..., None]
        found, wanted = found * there, wanted * there
        shares = {"heat": heat_loss(said[:, :classes], targets["heat"]), "place": _apart(found, wanted, 0, 2)}
        shares |= self.number_losses(found[..., 2:], wanted[..., 2:])
        shares = {name: share / total for name, share in shares.items()}
        weighted = [self.weights.get(name, 1.0) * share for name, share in shares.items()]
        return {"loss": torch.stack(weighted).sum(), **shares}

    @abstractmethod
    def number_losses(self, found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """The losses of the R numbers (B, M, R) by name, summed; 0 where there is no center."""

    def peaks(self, said: Tensor) -> list[list[Peak]]:
        """The centers that are predicted of samples."""
        return peaks_of(said[:, : len(self.names)], said[:, len(self.names) :])

    def initial_bias(self) -> Tensor:
        return heat_bias(len(self.names), self.numbers)


def _apart(found: Tensor, wanted: Tensor, first: int, last: int) -> Tensor:
    """The sum of the absolute differences of some of the numbers."""
    return (found[..., first:last] - wanted[..., first:last]).abs().sum()


def heat_loss(said: Tensor, heat: Tensor) -> Tensor:
    """The focal loss of logits (B, K, h, w), summed; cells near a center count less as others."""
    peak = (heat >= HEAT_AT_MOST).float()
    sure, unsure = torch.nn.functional.logsigmoid(said), torch.nn.functional.logsigmoid(-said)
    probability = said.sigmoid()
    hits = peak * sure * (1 - probability) ** ALPHA
    others = (1 - peak) * unsure * probability**ALPHA * (1 - heat) ** BETA
    return -(hits + others).sum()


def at_centers(said: Tensor, cell: Tensor) -> Tensor:
    """What maps (B, R, h, w) say at the cells (B, M): (B, M, R)."""
    flat = said.flatten(2).mT
    return flat.gather(1, cell.clamp_min(0)[..., None].expand(-1, -1, flat.shape[-1]))


def peaks_of(heat: Tensor, numbers: Tensor) -> list[list[Peak]]:
    """The cells that are likelier centers than their neighbors, of logits (B, K, h, w) and numbers (B, 2 + R, h, w)."""
    scores = heat.float().sigmoid()
    scores = scores * (scores == torch.nn.functional.max_pool2d(scores, 3, stride=1, padding=1))
    rows, columns = scores.shape[-2:]
    best, places = scores.flatten(1).topk(min(KEPT, scores[0].numel()))
    found = []
    for k in range(len(scores)):
        peaks = []
        for score, place in zip(best[k].tolist(), places[k].tolist(), strict=True):
            if score < LEAST:
                break
            label, cell = divmod(place, rows * columns)
            row, column = divmod(cell, columns)
            said = numbers[k, :, row, column].float().cpu().numpy()
            at = (column + 0.5 + float(said[0])) / columns, (row + 0.5 + float(said[1])) / rows
            peaks.append(Peak(at, label, score, said[2:]))
        found.append(peaks)
    return found


def heat_bias(classes: int, numbers: int) -> Tensor:
    """The bias of the last layer (K + 2 + R,) with which every cell is a center by `PRIOR`."""
    prior = float(np.log(PRIOR / (1 - PRIOR)))
    return torch.tensor([prior] * classes + [0.0] * (2 + numbers))
