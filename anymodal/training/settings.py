"""The settings of a training run, checked before anything is built."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import optional

from anymodal.config.validators import at_least, at_most, between, count, one_of, positive, whole
from anymodal.data.order import Share
from anymodal.errors import ConfigError
from anymodal.training.optim import OPTIMIZERS, AdamWConfig, OptimizerConfig
from anymodal.training.schedules import SCHEDULES, CosineSchedule, Schedule

COUNT = [whole, at_least(1)]
MOST_STEPS = 10**12 - 1  # what names of checkpoints have room for
WORKERS = [whole, at_least(0), at_most(1024)]  # processes that prepare batches: more are a slip that a machine dies of
PRECISIONS: tuple[Literal["bfloat16"], Literal["float32"]] = ("bfloat16", "float32")


def _optimizer(value: Any) -> OptimizerConfig:
    return OPTIMIZERS(value)


def _schedule(value: Any) -> Schedule:
    return SCHEDULES(value)


@frozen
class TrainingSettings:
    """The settings of a training run.

    steps: updates of the weights. batch_size: samples an update, over all processes together. accumulate: in how many
        parts, one after the other, a process works through its samples of an update.
    lr: peak learning rate; schedule: its course over the steps, a name or a block such as
        {name: trapezoid, warmup_steps: 100} (`anymodal.training.schedules`).
    optimizer: a name, "adamw" or "muon", or a block such as {name: adamw, betas: [0.9, 0.99]}
        (`anymodal.training.optim`).
    clip: largest norm of the gradient, 0 for no limit. explosion: an update whose gradient is this many times as long
        as usual is skipped, 0 for none. ema: decay of the averaged weights, 0 for none.
    precision: of the forward pass; weights are always float32, and so is what the optimizer keeps, but for its
        `moments`. "auto" is bfloat16 where the device that a run begins on is fast in it
        (`anymodal.nn.device.fast_precision`), else float32; a resumed run keeps it.
    log_every, save_every: steps. max_minutes: wall time after which a run saves and returns, to be resumed.
    max_bad: share of samples that may be unusable (of the first 1000 or of all so far) before a run stops.
    """

    steps: int = field(validator=count(MOST_STEPS))
    batch_size: int = field(validator=count())
    lr: float = field(validator=positive)
    optimizer: OptimizerConfig = field(factory=AdamWConfig, converter=_optimizer)
    schedule: Schedule = field(factory=CosineSchedule, converter=_schedule)
    clip: float = field(default=1.0, validator=at_least(0))
    explosion: float = field(default=100.0, validator=at_least(0))
    ema: float = field(default=0.0, validator=between(0, 1, below=True))
    accumulate: int = field(default=1, validator=count())
    precision: Literal["auto", "bfloat16", "float32"] = field(default="auto", validator=one_of("auto", *PRECISIONS))
    log_every: int = field(default=50, validator=COUNT)
    save_every: int = field(default=1000, validator=COUNT)
    max_minutes: float | None = field(default=None, validator=optional(positive))
    max_bad: float = field(default=0.01, validator=between(0, 1))
    seed: int = field(default=0, validator=[whole, between(0, 2**63 - 1)])

    def __attrs_post_init__(self) -> None:
        needed = {"clip": 0, "explosion": 0, "accumulate": 1}
        if self.optimizer.in_backward and (other := [name for name in needed if getattr(self, name) != needed[name]]):
            raise ConfigError(
                f"optimizer.in_backward moves weights before all gradients are known, and {other[0]} is"
                f" {getattr(self, other[0])}; set {', '.join(f'{name}: {needed[name]}' for name in other)}"
            )

    def check(self, processes: int) -> None:
        """Raise ConfigError where that many processes cannot share the run."""
        Share(world=processes, parts=self.accumulate).check(self.batch_size)
        self.optimizer.check(processes)


@frozen(kw_only=True)
class ParallelConfig:
    """How a run uses processes, memory and the compiler; the result does not depend on it.

    strategy: "ddp", every process holds the whole model; "fsdp", its weights, gradients, optimizer state and averages
        are split over the processes (FSDP2).
    checkpoint_activations: compute the inside of every block again in the backward pass instead of keeping it.
    compile: run the blocks through torch.compile.
    """

    strategy: Literal["ddp", "fsdp"] = field(default="ddp", validator=one_of("ddp", "fsdp"))
    checkpoint_activations: bool = False
    compile: bool = False


@frozen(kw_only=True)
class SavingConfig:
    """Which checkpoints stay: the newest `keep`, and the `best` ones by the loss of the evaluation.

    result: what a finished run writes: the weights of the "last" step, or those of the "best" checkpoint.
    background: whether training goes on while a checkpoint is written.
    """

    keep: int = field(default=2, validator=[whole, at_least(1)])
    best: int = field(default=0, validator=[whole, at_least(0)])
    result: Literal["last", "best"] = field(default="last", validator=one_of("last", "best"))
    background: bool = True

    def __attrs_post_init__(self) -> None:
        if self.result == "best" and not self.best:
            raise ConfigError("checkpoints.result is best, and none is kept; set checkpoints.best to 1")
