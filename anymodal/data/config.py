"""What a training run reads: datasets, their weights in the mixture, and how pictures are cropped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from anymodal.config.validators import HEAVIEST, as_tuple, weighed
from anymodal.errors import ConfigError
from anymodal.masking import MaskingConfig


@attrs.frozen(kw_only=True)
class CropConfig:
    """Random crops, the same for all modalities of a sample (as torchvision's RandomResizedCrop).

    A crop covers a share of the picture within `scale`; its width is to its height as a number within `ratio`. `flip`
    is the probability that it is mirrored.
    """

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __attrs_post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ConfigError(f"the scale of a crop must be two ascending numbers above 0, up to 1, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ConfigError(f"the ratio of a crop must be two ascending numbers above 0, got {self.ratio}")
        if not 0 <= self.flip <= 1:
            raise ConfigError(f"the flip of a crop must be a probability from 0 to 1, got {self.flip}")


@attrs.frozen(kw_only=True)
class DataConfig:
    """A dataset of a training run; a path alone stands for one with nothing else set.

    `path`: a tokenized dataset, an aligned folder, a folder of sharded tars (also behind an address such as
    s3://bucket/data), or rows of Hugging Face datasets (hf:NAME[:SPLIT], hf:NAME:CONFIG:SPLIT, a .parquet or .json
    file, or a folder written by `save_to_disk`). `weight`: its share of the samples, among the weights of all.
    `modalities`: those to be used, all if empty. `names`: the folders, or columns, of modalities or streams that are
    named otherwise there. `masking`: a mixture of its own. `crop`: random crops of values that are tokenized while the
    model trains; without it, the centered square. `count`: only the first samples.
    """

    path: str = attrs.field(metadata={"short": True})
    weight: float = 1.0
    modalities: tuple[str, ...] = attrs.field(factory=tuple, converter=as_tuple)
    names: Mapping[str, str] = attrs.field(factory=dict)
    masking: MaskingConfig | None = None
    crop: CropConfig | None = None
    count: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.path:
            raise ConfigError("a dataset needs a path")
        weighed(self.weight, f"the weight of {self.path}", 1 / HEAVIEST)
        if self.count is not None and self.count < 1:
            raise ConfigError(f"the count of {self.path} must be at least 1, got {self.count}")


def as_datasets(data: DataConfig | str | Path | Iterable[DataConfig | str | Path]) -> tuple[DataConfig, ...]:
    """Datasets of a run from one or several, or their paths. Raises ConfigError for none."""
    several = [data] if isinstance(data, (DataConfig, str, Path)) else list(data)
    if not several:
        raise ConfigError("a run needs at least one dataset under data")
    return tuple(each if isinstance(each, DataConfig) else DataConfig(path=str(each)) for each in several)
