"""What a run of the engine is given beside its settings: where it trains, and what is known of the weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from anymodal.nn.distributed import World
from anymodal.training.settings import ParallelConfig, SavingConfig
from anymodal.training.trackers import Tracker


@attrs.frozen(kw_only=True)
class Runtime:
    """Where and how a run trains; its result does not depend on it.

    world: the processes that train together, each with its share of the batches; by default this one alone, on
        `device` (the first GPU if there is one).
    parallel, saving: how a model is laid over processes, and which checkpoints stay.
    trackers: told of numbers and pictures besides the log.
    verbose: print a line now and then where there is no terminal for a progress bar.
    """

    world: World | None = None
    device: str | torch.device | None = None
    parallel: ParallelConfig = attrs.field(factory=ParallelConfig)
    saving: SavingConfig = attrs.field(factory=SavingConfig)
    trackers: tuple[Tracker, ...] = ()
    verbose: bool = False


@attrs.frozen(kw_only=True)
class WeightFacts:
    """What is known of the weights of a model beyond their values.

    frozen: names of weights that never change; checkpoints and averages leave them out.
    unused: says which parameters a step (from 0) leaves alone.
    fingerprint: what the weights are for, as JSON can hold it; a run for which that differs cannot be resumed.
    """

    frozen: Collection[str] = ()
    unused: Callable[[int], Iterable[Tensor]] = lambda step: ()
    fingerprint: Mapping[str, Any] = attrs.field(factory=dict)
