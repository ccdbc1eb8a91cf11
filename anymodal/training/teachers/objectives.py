"""What teachers learn from: pairs that belong together, or several views of one picture.

Shapes: B batch, E embedding, K prototypes, V views.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.teachers.towers import PictureTower

LARGEST_SCALE = 100.0  # largest factor of the similarities, as in CLIP


class Contrastive(nn.Module):
    """Towers of which the first is drawn to all others: the symmetric loss of CLIP (Radford et al. 2021), to every
    other modality as in ImageBind (Girdhar et al. 2023)."""

    def __init__(self, towers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def teacher(self) -> PictureTower:
        """The tower of the first modality."""
        return next(iter(self.towers.values()))  # type: ignore[return-value]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss over values of B samples by modality, and how often a sample's own partner is the nearest."""
        first, *others = (
            (name, F.normalize(tower(batch[name]).float(), dim=-1)) for name, tower in self.towers.items()
        )
        metrics, own = {}, torch.arange(len(first[1]), device=first[1].device)
        for name, vectors in others:
            scores = first[1] @ vectors.T * self.log_scale.exp().clamp_max(LARGEST_SCALE)
            metrics[f"loss.{name}"] = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
            metrics[f"found.{name}"] = (scores.T.argmax(1) == own).float().mean()
        losses = [value for key, value in metrics.items() if key.startswith("loss.")]
        return {"loss": torch.stack(losses).mean(), **metrics}


class Distillation(nn.Module):
    """A tower that says of one view of a picture what its own average says of another: DINO (Caron et al. 2021).

    The average is centered and sharpened, so that neither can answer the same for every picture. The places of two
    views of the same crop are compared too when half of the patches are hidden from the tower (iBOT, Zhou et al. 2022).
    """

    center: Tensor

    def __init__(
        self,
        tower: PictureTower,
        prototypes: int = 512,
        momentum: float = 0.99,
        student: float = 0.1,
        teacher: float = 0.04,
    ) -> None:
        super().__init__()
        dim, embedding = tower.config.dim, tower.config.embedding
        self.tower = tower
        self.head = nn.Sequential(nn.Linear(embedding, 4 * embedding), nn.GELU(), nn.Linear(4 * embedding, prototypes))
        self.place_head = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, prototypes))
        self.momentum, self.temperature, self.teacher_temperature = momentum, student, teacher
        self.average = copy.deepcopy(nn.ModuleList([tower, self.head, self.place_head])).requires_grad_(False)
        self.hidden = nn.Parameter(torch.zeros(tower.config.channels, 1, 1))
        self.register_buffer("center", torch.zeros(2, prototypes))

    @property
    def teacher(self) -> PictureTower:
        """The average, which sees more than the tower that follows it."""
        return self.average[0]  # type: ignore[return-value]

    def forward(self, views_BVCHW: Tensor) -> dict[str, Tensor]:
        """The loss over two or more views of B pictures, and the entropy of the answers in nats."""
        self._follow()
        views = views_BVCHW.unbind(1)
        with torch.no_grad():
            answered = [self._answer(view) for view in views]
        features = [self.tower.features(self._hide(view)) for view in views]
        whole = [self.head(self.tower.project(f.mean(1))) for f in features]
        across = [self._cross(answered[a][0], whole[b]) for a in range(len(views)) for b in range(len(views)) if a != b]
        within = [self._cross(answered[a][1], self.place_head(features[a])) for a in range(len(views))]
        answers = torch.cat([s[0] for s in answered]).mean(0)
        across_loss, within_loss = torch.stack(across).mean(), torch.stack(within).mean()
        entropy = torch.special.entr(answers).sum()
        return {"loss": across_loss + within_loss, "views": across_loss, "places": within_loss, "entropy": entropy}

    def _answer(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """What the average answers of a view and of its places; moves the centers."""
        tower, (_, head, place_head) = self.teacher, self.average.children()
        features = tower.features(view)
        answers = (head(tower.project(features.mean(1))).float(), place_head(features).float())
        centered = [a - center for a, center in zip(answers, self.center, strict=True)]
        shares = [(a / self.teacher_temperature).softmax(-1) for a in centered]
        means = torch.stack([a.flatten(0, -2).mean(0) for a in answers])
        if self.training:
            self.center.lerp_(means, 0.1)
        return shares[0], shares[1]

    def _cross(self, wanted: Tensor, scores: Tensor) -> Tensor:
        return -(wanted * (scores.float() / self.temperature).log_softmax(-1)).sum(-1).mean()

    def _hide(self, view: Tensor) -> Tensor:
        """Half of the patches replaced by one learned color."""
        patch = self.tower.config.patch
        rows, columns = view.shape[2] // patch, view.shape[3] // patch
        shown = (torch.rand(len(view), 1, rows, columns, device=view.device) < 0.5).to(view.dtype)
        shown = shown.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
        return view * shown + self.hidden * (1 - shown)

    @torch.no_grad()
    def _follow(self) -> None:
        if self.training:
            for average, module in zip(self.average, (self.tower, self.head, self.place_head), strict=True):
                for mine, theirs in zip(average.parameters(), module.parameters(), strict=True):
                    mine.lerp_(theirs, 1 - self.momentum)
