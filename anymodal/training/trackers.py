"""Where a run is followed besides its log file: TensorBoard and Weights & Biases, when they are installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import numpy as np

from anymodal.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image


@attrs.frozen(kw_only=True)
class TrackingConfig:
    """tensorboard: write event files to OUT/tensorboard. wandb: the project that a run is sent to."""

    tensorboard: bool = False
    wandb: str | None = None


class Tracker(Protocol):
    """Told of numbers and pictures as they come."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, picture: Image) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files for `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError("tracking.tensorboard needs tensorboard; pip install 'anymodal[track]'") from None
        self.writer = SummaryWriter(str(folder))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Image) -> None:
        self.writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of a project at Weights & Biases; the same folder continues the same run."""

    def __init__(self, project: str, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise ConfigError("tracking.wandb needs wandb; pip install wandb") from None
        self.wandb = wandb
        folder.mkdir(parents=True, exist_ok=True)
        name = folder.resolve().name
        self.run = wandb.init(project=project, name=name, id=name, resume="allow", dir=str(folder), config=dict(config))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Image) -> None:
        self.run.log({name: self.wandb.Image(picture)}, step=step)

    def close(self) -> None:
        self.run.finish()


@contextmanager
def trackers(config: TrackingConfig, out: Path, run: Mapping[str, Any]) -> Iterator[tuple[Tracker, ...]]:
    """Those that a configuration asks for, closed after the block however it ends.

    `run` is the run's whole configuration. Raises ConfigError where a package is missing.
    """
    with ExitStack() as opened:
        found: list[Tracker] = []
        if config.tensorboard:
            found.append(opened.enter_context(closing(TensorBoard(out / "tensorboard"))))
        if config.wandb is not None:
            found.append(opened.enter_context(closing(WeightsAndBiases(config.wandb, out, run))))
        yield tuple(found)
