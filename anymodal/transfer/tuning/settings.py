"""The configuration of a transfer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import as_tuple, at_least, between, count, positive, whole
from anymodal.errors import ConfigError
from anymodal.sampling import Sampling
from anymodal.training.multimodal.start import MOST_RANK, LoraConfig
from anymodal.training.settings import WORKERS, SavingConfig, TrainingSettings
from anymodal.training.trackers import TrackingConfig
from anymodal.transfer.tuning import boxes, boxes3d, classification, grids  # noqa: F401  # they fill the table
from anymodal.transfer.tuning.tasks import TASKS as TASKS
from anymodal.transfer.tuning.tasks import Task


@attrs.frozen
class Tuning:
    """What of the encoder is trained beside the head."""

    name: str = attrs.field(init=False)


TUNINGS: SettingsTable[Tuning] = SettingsTable(Tuning, "tuning", default="full")


@TUNINGS.add
@attrs.frozen
class Frozen(Tuning):
    """Nothing: the head reads what the encoder says as it is."""

    name: str = attrs.field(init=False, default="frozen")


@TUNINGS.add
@attrs.frozen
class Full(Tuning):
    """All that the encoder reads and computes with."""

    name: str = attrs.field(init=False, default="full")


@TUNINGS.add
@attrs.frozen
class Lora(Tuning):
    """Low-rank adapters of its linear layers (Hu et al. 2021, arXiv 2106.09685), merged into them in the end."""

    name: str = attrs.field(init=False, default="lora")
    rank: int = attrs.field(default=16, validator=count(MOST_RANK))
    alpha: float = attrs.field(default=32.0, validator=positive)
    targets: tuple[str, ...] = ("qkv", "proj", "fc1", "fc2", "fc3")

    def adapters(self) -> LoraConfig:
        """The settings of the adapters."""
        return LoraConfig(rank=self.rank, alpha=self.alpha, targets=self.targets)


@attrs.frozen
class MapHead:
    """What reads the maps of the encoder."""

    name: str = attrs.field(init=False)


MAP_HEADS: SettingsTable[MapHead] = SettingsTable(MapHead, "map head", default="convnext")


@MAP_HEADS.add
@attrs.frozen
class ConvNeXtHead(MapHead):
    """Blocks of ConvNeXt (Liu et al. 2022) on a finer map, as MultiMAE has them (Bachmann et al., arXiv 2204.01678)."""

    name: str = attrs.field(init=False, default="convnext")
    width: int = attrs.field(default=64, validator=[whole, count(4096)])
    blocks: int = attrs.field(default=2, validator=[whole, count(64)])


@MAP_HEADS.add
@attrs.frozen
class LinearHead(MapHead):
    """One linear layer for each cell."""

    name: str = attrs.field(init=False, default="linear")


@attrs.frozen(kw_only=True)
class ThinkConfig:
    """A `modality` that the model generates from the inputs first, and reads as one more: with the sampling `options`
    of `generate`, such as {steps: 4}."""

    modality: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        known = [field.name for field in attrs.fields(Sampling)]
        for option in self.options:
            if option not in known:
                raise ConfigError(f"think.options has no {option!r}; known: {', '.join(known)}")


@attrs.frozen(kw_only=True)
class HeldOutConfig:
    """What the result is tried on: a dataset like the training data, or its first `count` samples; the loss on these is
    measured every `every` steps too."""

    path: str = attrs.field(metadata={"short": True})
    count: int | None = attrs.field(default=None, validator=attrs.validators.optional([whole, at_least(1)]))
    every: int = attrs.field(default=1000, validator=[whole, at_least(1)])


def _held_out(value: Any) -> HeldOutConfig | None:
    return HeldOutConfig(path=value) if isinstance(value, str) else value


def _task(value: Any) -> Task:
    return TASKS(value)


def _tuning(value: Any) -> Tuning:
    return TUNINGS(value)


def _head(value: Any) -> MapHead:
    return MAP_HEADS(value)


@attrs.frozen(kw_only=True)
class TransferConfig:
    """A transfer: a `model`, as `anymodal.load` takes it, is fine-tuned for a `task`.

    `inputs` are what it reads; samples may lack all but one of them. `drop` is how likely an input is left out of a
    sample in training where others are left, so that the result does without it. `data` is an aligned dataset, of which
    the first `count` samples are taken, or, for classes, pictures in a folder for each class. `tune` says what is
    trained beside the head: full, frozen, or lora. `head` reads the maps of tasks that have some. `scratch`: the
    encoder begins with new weights, to compare with. `think` names a modality that the model generates first. `flip` is
    the probability that a sample is mirrored. `workers` processes prepare batches.
    """

    model: str
    inputs: tuple[str, ...] = attrs.field(converter=as_tuple)
    task: Task = attrs.field(converter=_task)
    data: str
    training: TrainingSettings
    count: int | None = attrs.field(default=None, validator=attrs.validators.optional([whole, at_least(1)]))
    held_out: HeldOutConfig | None = attrs.field(default=None, converter=_held_out)
    tune: Tuning = attrs.field(factory=Full, converter=_tuning)
    head: MapHead = attrs.field(factory=ConvNeXtHead, converter=_head)
    scratch: bool = False
    drop: float = attrs.field(default=0.0, validator=between(0, 1, below=True))
    flip: float = attrs.field(default=0.5, validator=between(0, 1))
    think: ThinkConfig | None = None
    workers: int = attrs.field(default=0, validator=WORKERS)
    checkpoints: SavingConfig = attrs.field(factory=SavingConfig)
    tracking: TrackingConfig = attrs.field(factory=TrackingConfig)

    def __attrs_post_init__(self) -> None:
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise ConfigError(f"inputs names modalities, each once, got {list(self.inputs)}")
        if self.think is not None and self.think.modality in self.inputs:
            raise ConfigError(f"think.modality is {self.think.modality!r}, which is an input already")
        if self.scratch and not isinstance(self.tune, Full):
            raise ConfigError(
                f"scratch begins with new weights, which {self.tune.name} would not train; leave out tune"
            )
        if self.checkpoints.result == "best" and self.held_out is None:
            raise ConfigError("checkpoints.result is best, but nothing says what is better; add held_out")

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs, and what is generated first."""
        return self.inputs if self.think is None else (*self.inputs, self.think.modality)
