"""What jobs have in common in which a model makes something of every sample: generating, and indexing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anymodal.data.jobs.executors import room
from anymodal.data.jobs.model_source import ModelSource
from anymodal.modality import Modality

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


class ModelWork(ABC):
    """Work of shards of `shard_size` samples, as it travels to other processes, which load the model themselves.

    `alone`: each process computes with one thread, so that what is made does not depend on how many share the work.
    """

    alone = False
    device: str | None = None

    def __init__(self, source: ModelSource, shard_size: int) -> None:
        self.source, self.shard_size = source, shard_size

    def __getstate__(self) -> dict[str, Any]:
        """Without what is worked out when it is asked for."""
        kinds = [vars(kind) for kind in type(self).__mro__]
        cached = {name for kind in kinds for name, each in kind.items() if isinstance(each, cached_property)}
        return {name: value for name, value in vars(self).items() if name not in cached}

    @property
    @abstractmethod
    def samples(self) -> int:
        """How many samples there are."""

    @cached_property
    def model(self) -> AnyModel:
        return self.source.load(self.device)

    def modality(self, name: str) -> Modality:
        found: Modality = self.model.modalities[name]
        return found

    @property
    def counts(self) -> list[int]:
        """The samples of each shard."""
        return [len(self.rows(shard)) for shard in range(-(-self.samples // self.shard_size))]

    def rows(self, shard: int) -> range:
        """The numbers of the samples of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.samples))

    def share(self, workers: int | None, executor: str) -> None:
        """Settle whether processes work `alone`: where there are several, whoever they are."""
        self.alone = min(len(self.counts), workers or room()) > 1 or executor != "local"

    def move(self, device: str | None) -> None:
        """Compute on this device from here on, unless another was asked for; it is not known while a plan is made."""
        self.device = device
        if device is not None and "model" in vars(self) and not self.source.options.get("device"):
            self.model.to(device)
