"""The configuration of a teacher's training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs

from anymodal.config.validators import at_least, between, one_of, whole
from anymodal.errors import ConfigError
from anymodal.teachers.config import TowerConfig
from anymodal.training.settings import WORKERS, TrainingSettings


@attrs.frozen(kw_only=True)
class TeacherRun:
    """Trains a teacher on the aligned folder `data`, or its first `count` samples.

    `modalities` maps names to settings; the first is what the teacher reads. With several the `objective` is
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
    views: int = attrs.field(default=2, validator=[whole, at_least(2)])
    smallest: float = attrs.field(default=0.3, validator=between(0, 1, above=True))
    dtype: str = attrs.field(default="float32", validator=one_of("float32", "float16", "bfloat16"))
    workers: int = attrs.field(default=0, validator=WORKERS)

    def __attrs_post_init__(self) -> None:
        several = len(self.modalities) > 1
        if not self.modalities or several != (self.objective == "contrastive"):
            raise ConfigError(
                f"{self.objective} over {len(self.modalities)} modalities: it takes one, contrastive more"
            )
        if self.training.accumulate > 1:
            raise ConfigError("a teacher compares the samples of a batch with each other; leave accumulate at 1")


def check_one_process(processes: int) -> None:
    """Raise ConfigError where several processes would train a teacher together."""
    if processes > 1:
        raise ConfigError(f"a teacher is trained by one process, not {processes}; start it without torchrun")
