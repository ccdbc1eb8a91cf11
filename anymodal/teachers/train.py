"""A run that trains a teacher from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from anymodal.data.steps import EpochOrder, step_batches
from anymodal.data.values import ValueSource, open_values
from anymodal.errors import ConfigError
from anymodal.families import StructuredModality
from anymodal.modality import Crop, Modality
from anymodal.plugins import registry
from anymodal.teachers.objectives import Contrastive, Distillation
from anymodal.teachers.towers import PictureTower, TextTower, TowerConfig, save_tower
from anymodal.text import Vocabulary
from anymodal.training.engine import Engine
from anymodal.training.settings import TrainingSettings
from anymodal.weights import dtype_of


@attrs.frozen(kw_only=True)
class TeacherRun:
    """Trains a teacher on the aligned folder `data`, or its first `count` samples.

    `modalities` maps names to numbers; the first is what the teacher reads. With several the `objective` is
    "contrastive", with one "distillation" over `views` crops of at least `smallest` of the picture. Texts are read with
    `vocabulary`. The result is stored in `dtype`.
    """

    data: Path
    modalities: dict[str, dict[str, Any]]
    objective: Literal["contrastive", "distillation"]
    tower: TowerConfig
    training: TrainingSettings
    vocabulary: Path | None = None
    count: int | None = None
    views: int = 2
    smallest: float = 0.3
    dtype: str = "float32"
    workers: int = 0

    def __attrs_post_init__(self) -> None:
        several = len(self.modalities) > 1
        if not self.modalities or several != (self.objective == "contrastive"):
            raise ConfigError(
                f"{self.objective} over {len(self.modalities)} modalities: it takes one, contrastive more"
            )
        if self.views < 2 or not 0 < self.smallest <= 1:
            raise ConfigError(f"give at least 2 views of a share in (0, 1], not {self.views} of {self.smallest}")
        if self.training.accumulate > 1:
            raise ConfigError("a teacher compares the samples of a batch with each other; leave accumulate at 1")
        if self.workers < 0:
            raise ConfigError(f"workers must be at least 0, got {self.workers}")
        dtype_of(self.dtype)


class Samples:
    """Batches of an aligned dataset; batch `step` is a pure function of the seed and the step."""

    def __init__(self, source: ValueSource, modalities: dict[str, Modality], run: TeacherRun) -> None:
        self.source, self.modalities, self.run = source, modalities, run
        self.order = EpochOrder(len(source), run.training.batch_size, run.training.seed)

    def __call__(self, step: int) -> dict[str, Tensor] | Tensor:
        rng = np.random.default_rng([self.run.training.seed, step])
        indices = self.order(step)
        if self.run.objective == "distillation":
            return torch.from_numpy(np.stack([self._views(index, rng) for index in indices]))
        samples = [self.source.read(index) for index in indices]
        return {name: self._stacked(m, [s[name] for s in samples]) for name, m in self.modalities.items()}

    def _stacked(self, modality: Modality, values: list[Any]) -> Tensor:
        if not isinstance(modality, StructuredModality):
            return torch.from_numpy(np.stack([modality.preprocess(value) for value in values]))
        ids = np.zeros((len(values), modality.length), np.int64)
        for row, array in zip(ids, modality.tokenize(values)[modality.name], strict=True):
            row[: len(array)] = array
        return torch.from_numpy(ids)

    def _views(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """Random crops of one picture, half of them mirrored (V, C, H, W)."""
        (modality,) = self.modalities.values()
        views = []
        for _ in range(self.run.views):
            side = np.sqrt(rng.uniform(self.run.smallest, 1))
            left, top = rng.uniform(0, 1 - side, 2)
            crop = Crop(left, top, side, side, flip=bool(rng.random() < 0.5))
            views.append(modality.preprocess(self.source.read(index, crop)[modality.name]))
        return np.stack(views)


def run(config: TeacherRun, out: Path, *, resume: bool = False, verbose: bool = False) -> Path | None:
    """Train and write the teacher's folder; progress lies in out/run. Returns `out`, or None if the run ended early."""
    vocabulary = Vocabulary.load(config.vocabulary) if config.vocabulary else None
    modalities = {name: registry().modality(name)(**numbers) for name, numbers in config.modalities.items()}
    source = open_values(config.data, modalities.values(), count=config.count)
    torch.manual_seed(config.training.seed)
    towers = {name: _tower(modality, config.tower, vocabulary) for name, modality in modalities.items()}
    first = next(iter(towers.values()))
    if not isinstance(first, PictureTower):
        raise ConfigError(f"a teacher reads values over the image plane; {next(iter(towers))!r} has none")
    model = Contrastive(towers) if config.objective == "contrastive" else Distillation(first)
    engine = Engine(model, config.training, out / "run", verbose=verbose)
    batches = step_batches(Samples(source, modalities, config), config.training.steps, config.workers)
    engine.run(batches, lambda module, batch: module(batch), resume=resume)
    if not engine.finished:
        return None
    model.load_state_dict(engine.weights())
    return save_tower(model.teacher, out, dtype_of(config.dtype))


def _tower(modality: Modality, config: TowerConfig, vocabulary: Vocabulary | None) -> nn.Module:
    if isinstance(modality, StructuredModality):
        if vocabulary is None:
            raise ConfigError(f"{modality.name!r} is text: name the vocabulary to read it with")
        modality.vocabulary = vocabulary
        return TextTower(config, len(vocabulary), modality.length)
    return PictureTower(attrs.evolve(config, channels=getattr(modality, "channels", config.channels)))
