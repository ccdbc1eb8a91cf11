"""A run that trains a teacher from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from anymodal.checkpoints.weights import dtype_of
from anymodal.config.arguments import PLACE, read_by_load, takes
from anymodal.crops import Crop
from anymodal.data.digest import digest
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.order import EpochOrder, generator, step_batches
from anymodal.data.replacing import Replacing
from anymodal.errors import ConfigError, DataError, system_errors
from anymodal.modality import Modality
from anymodal.nn.distributed import world
from anymodal.plugins.registry import registry
from anymodal.teachers.config import TowerConfig
from anymodal.teachers.towers import PictureTower, TextTower, save_tower
from anymodal.text import Vocabulary
from anymodal.training.checkpoint import claimed
from anymodal.training.engine import Engine
from anymodal.training.objective import MeanOf
from anymodal.training.runtime import Runtime, WeightFacts
from anymodal.training.teachers.config import TeacherRun, check_one_process
from anymodal.training.teachers.objectives import Contrastive, Distillation


@attrs.frozen(eq=False)
class Examples:
    """What a teacher learns from in a step: values by modality, or views; and a line for each sample replaced."""

    values: dict[str, Tensor] | Tensor
    problems: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Examples:
        values = self.values
        moved = values.to(device) if isinstance(values, Tensor) else {n: v.to(device) for n, v in values.items()}
        return Examples(moved, self.problems)


class Samples:
    """Batches of an aligned dataset; batch `step` is a pure function of the seed and the step.

    A sample that lacks a modality is replaced by the next one that has all, one that cannot be used by another, of
    which the batch tells.
    """

    def __init__(self, source: ValueSource, modalities: dict[str, Modality], run: TeacherRun) -> None:
        self.source, self.modalities, self.run = source, modalities, run
        self.order = EpochOrder(len(source), run.training.batch_size, run.training.seed)

    def __call__(self, step: int) -> Examples:
        rng = np.random.default_rng([self.run.training.seed, step])
        problems: list[str] = []
        samples = [self._sample(step, row, index, rng, problems) for row, index in enumerate(self.order(step))]
        stacked = {name: torch.from_numpy(np.stack([s[name] for s in samples])) for name in self.modalities}
        views = self.run.objective == "distillation"
        return Examples(next(iter(stacked.values())) if views else stacked, tuple(problems))

    def _sample(
        self, step: int, row: int, index: int, rng: np.random.Generator, problems: list[str]
    ) -> dict[str, np.ndarray]:
        others = generator(self.run.training.seed, "row", step, row)

        def read(index: int, _: np.random.Generator) -> dict[str, np.ndarray] | None:
            if not set(self.modalities) <= set(self.source.held(index)):
                return None
            return self._views(index, rng) if self.run.objective == "distillation" else self._pair(index)

        nothing = f"{self.run.data} has no sample with all of {', '.join(self.modalities)}"
        replacing = Replacing(str(self.run.data), len(self.source), self.source.describe, nothing)
        return replacing.read(read, index, lambda failed: others, problems)

    def _pair(self, index: int) -> dict[str, np.ndarray]:
        """What the towers read of a sample."""
        values = self.source.read(index)
        return {name: self._array(modality, values[name]) for name, modality in self.modalities.items()}

    def _array(self, modality: Modality, value: Any) -> np.ndarray:
        if not modality.spelled:
            return modality.preprocess(value)
        ids = np.zeros(_length(modality), np.int64)
        (array,) = modality.tokenize([value])[modality.name]
        ids[: len(array)] = array
        return ids

    def _views(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Random crops of one picture, half of them mirrored (V, C, H, W)."""
        ((name, modality),) = self.modalities.items()
        views = []
        for _ in range(self.run.views):
            side = np.sqrt(rng.uniform(self.run.smallest, 1))
            left, top = rng.uniform(0, 1 - side, 2)
            crop = Crop(left, top, side, side, flip=bool(rng.random() < 0.5))
            views.append(modality.preprocess(self.source.read(index, crop)[name]))
        return {name: np.stack(views)}


class Lesson(MeanOf):
    """What a teacher's own objective says of the examples of a step."""

    def __init__(self) -> None:
        super().__init__(lambda module, examples: module(examples.values))

    def problems(self, batch: Examples) -> tuple[str, ...]:
        return batch.problems


@takes(config=read_by_load(TeacherRun), out=PLACE)
@system_errors(DataError)
def train_teacher(config: TeacherRun, out: str | Path, *, resume: bool = False, verbose: bool = False) -> Path | None:
    """Train and write the teacher's folder; progress lies in out/run.

    Args:
        config: of the run.
        out: the teacher's folder.
        resume: take up the newest checkpoint, if there is one.
        verbose: print a line now and then where there is no terminal for a progress bar.

    Returns:
        `out`, or None if the run ended early, to be taken up with `resume`.

    Raises:
        ConfigError: the modalities do not fit the objective, or the run that is to be resumed; or torchrun started
            several processes: a batch is compared as a whole, by one of them.
        DataError: the data lack a modality, or too much of them is unusable.
    """
    out = Path(out)
    with world() as processes, claimed(out / "run", processes, resume):
        check_one_process(processes.size)
        return _train(config, out, resume, verbose)


def _train(config: TeacherRun, out: Path, resume: bool, verbose: bool) -> Path | None:
    vocabulary = Vocabulary.load(config.vocabulary) if config.vocabulary else None
    modalities = {name: registry().modality(name)(**settings) for name, settings in config.modalities.items()}
    source = open_values(config.data, modalities.values(), count=config.count)
    torch.manual_seed(config.training.seed)
    towers = {name: _tower(modality, config.tower, vocabulary) for name, modality in modalities.items()}
    first = next(iter(towers.values()))
    if not isinstance(first, PictureTower):
        raise ConfigError(f"a teacher reads values over the image plane; {next(iter(towers))!r} has none")
    model = Contrastive(towers) if config.objective == "contrastive" else Distillation(first)
    facts = WeightFacts(fingerprint=_fingerprint(config, modalities, vocabulary))
    engine = Engine(model, config.training, out / "run", Runtime(verbose=verbose), facts)
    batches = step_batches(Samples(source, modalities, config), config.training.steps, config.workers)
    engine.run(batches, Lesson(), resume=resume)
    if not engine.finished:
        return None
    model.load_state_dict(engine.weights())
    return save_tower(model.teacher, out, dtype_of(config.dtype))


def _fingerprint(
    config: TeacherRun, modalities: Mapping[str, Modality], vocabulary: Vocabulary | None
) -> dict[str, Any]:
    """What the weights of a run are for: what is read, how, and what is learned from it."""
    return {
        "objective": config.objective,
        "tower": attrs.asdict(config.tower),
        "modalities": {name: modality.config() for name, modality in modalities.items()},
        "vocabulary": None if vocabulary is None else digest(vocabulary.to_json()),
        "views": {"count": config.views, "smallest": config.smallest},
    }


def _tower(modality: Modality, config: TowerConfig, vocabulary: Vocabulary | None) -> nn.Module:
    if modality.spelled:
        if vocabulary is None:
            raise ConfigError(f"{modality.name!r} is text: name the vocabulary to read it with")
        modality.vocabulary = vocabulary
        return TextTower(config, len(vocabulary), _length(modality))
    return PictureTower(attrs.evolve(config, channels=getattr(modality, "channels", config.channels)))


def _length(modality: Modality) -> int:
    """The most tokens of a text."""
    return modality.streams()[0].space.length
