"""The settings of a training run, checked before anything is built."""

from __future__ import annotations

import math
from typing import Literal

from attrs import frozen

from anymodal.errors import ConfigError
from anymodal.training.optim import OPTIMIZERS, SCHEDULES, TABLES


@frozen
class TrainingSettings:
    """The settings of a training run.

    steps: updates of the weights. batch_size: samples an update, over all processes together. accumulate: in how many
        parts, one after the other, a process works through its samples of an update.
    lr: peak learning rate, reached after warmup_steps; schedule: "cosine" or "trapezoid" (both to 0 at the
        last step), or "constant".
    optimizer: "adamw", or "muon" for the matrices of linear layers and AdamW for the rest (betas are AdamW's).
    tables: "rows" updates of the embeddings of tokens those that a step looks up (`rows.RowAdamW` says what that
        changes), "dense" all of them. Rows need a single process.
    clip: largest norm of the gradient, 0 for no limit. explosion: an update whose gradient is this many times as long
        as usual is skipped, 0 for none. ema: decay of the averaged weights, 0 for none.
    precision: of the forward pass; weights and optimizer state are always float32.
    log_every, save_every: steps. max_minutes: wall time after which a run saves and returns, to be resumed.
    max_bad: share of samples that may be unusable (of the first 1000 or of all so far) before a run stops.
    """

    steps: int
    batch_size: int
    lr: float
    optimizer: Literal["adamw", "muon"] = "adamw"
    tables: Literal["dense", "rows"] = "dense"
    warmup_steps: int = 0
    schedule: str = "cosine"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    explosion: float = 100.0
    ema: float = 0.0
    accumulate: int = 1
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    log_every: int = 50
    save_every: int = 1000
    max_minutes: float | None = None
    max_bad: float = 0.01
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every", "save_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup_steps", "weight_decay", "clip", "explosion", "seed"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        self._require("lr", 0 < self.lr < math.inf, "above 0")
        self._require("max_bad", 0 <= self.max_bad <= 1, "in [0, 1]")
        self._require("ema", 0 <= self.ema < 1, "in [0, 1)")
        two_shares = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        self._require("betas", two_shares, "two numbers in [0, 1)")
        self._require("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        self._require("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}")
        self._require("tables", self.tables in TABLES, f"one of {', '.join(TABLES)}")
        self._require("precision", self.precision in ("bfloat16", "float32"), "bfloat16 or float32")
        self._require("max_minutes", self.max_minutes is None or self.max_minutes > 0, "above 0, or none")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ConfigError(f"TrainingSettings: {name} is {getattr(self, name)!r}; it must be {wanted}.")
