"""The training loop: this file decides in which order a step does things, and when a run saves, stops or gives up."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import torch
from torch import Tensor, nn

from anymodal.errors import AnymodalError, CheckpointError, ConfigError, DataError
from anymodal.training.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    optimizer_tensors,
    random_state,
    restore_optimizers,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from anymodal.training.log import MetricMeans, TrainingLog
from anymodal.training.optim import SCHEDULES, WeightAverage, build_optimizers
from anymodal.training.settings import TrainingSettings

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")
Batches = Iterable[B] | Callable[[int], Iterable[B]]
Metrics = Mapping[str, Tensor]
StepFunction = Callable[[M, B], Metrics]

SKIPS_IN_A_ROW = 20
MAY_CHANGE_ON_RESUME = {"steps", "log_every", "save_every", "max_minutes"}


class TrainingDiverged(AnymodalError):
    """The loss or its gradient was not finite for many steps in a row."""


class Engine(Generic[M]):
    """Trains one model in one process: optimiser, mixed precision, clipping, averaged weights, checkpoints and a log.

    model: moved to `device` (the first GPU if there is one) and trained in place.
    out: folder for checkpoints/ and log.jsonl; without it nothing is written and nothing can be resumed.
    verbose: print a line now and then where there is no terminal for a progress bar.
    """

    def __init__(
        self,
        model: M,
        settings: TrainingSettings,
        out: Path | None = None,
        device: str | torch.device | None = None,
        verbose: bool = False,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model: M = model.to(self.device)
        self.settings = settings
        self.out = out
        self.verbose = verbose
        self.step = 0
        self.skipped = 0
        self.optimizers = build_optimizers(
            self.model, settings.optimizer, settings.lr, settings.weight_decay, settings.betas
        )
        self._trained = [p for group in self._groups() for p in group["params"]]
        self._average = WeightAverage(self.model, settings.ema) if settings.ema else None
        self._skips_in_a_row = 0

    @property
    def finished(self) -> bool:
        """Whether all steps are done; False after a run that ended early."""
        return self.step >= self.settings.steps

    def ema_model(self) -> M:
        """A copy of the model with the averaged weights."""
        if self._average is None:
            raise ConfigError("this run keeps no averaged weights; set ema, for example to 0.999.")
        model = copy.deepcopy(self.model)
        model.load_state_dict(self._average.state)
        return model

    def run(
        self,
        batches: Batches[B],
        step: StepFunction[M, B],
        *,
        report: Callable[[], Mapping[str, float]] | None = None,
        resume: bool = False,
    ) -> None:
        """Train until all steps are done, `max_minutes` are over, or the process is asked to end.

        batches: endless batches, or a function that makes them starting with batch number n (from 0). With the function
            a resumed run repeats no work; other iterables are read again from the start up to where the run stopped.
        step: computes the metrics of a batch, scalar tensors; "loss" is minimised, all are logged as means.
        report: called when a line is logged, for values that are not means over steps.
        resume: continue from the newest checkpoint in `out`, if there is one. With a function of deterministic batches
            the result equals that of an uninterrupted run, bit for bit on a CPU.

        SIGINT and SIGTERM let the step finish and save before KeyboardInterrupt is raised; a second one ends at once.
        Raises `DataError` if the batches run out, `TrainingDiverged` after 20 steps in a row without a finite gradient.
        """
        self._start(resume)
        deadline = time.monotonic() + 60 * (self.settings.max_minutes or math.inf)
        stream = self._stream(batches)
        means = MetricMeans()
        samples = self.settings.batch_size * self.settings.accumulate
        path = self.out / "log.jsonl" if self.out else None
        self.model.train()
        with stop_requests() as asked, TrainingLog(path, self.step, self.settings.steps, self.verbose) as log:
            while not self.finished:
                self._advance(stream, step, means)
                log.advance(self.step)
                stop = bool(asked) or time.monotonic() >= deadline or self.finished
                if self.step % self.settings.log_every == 0 or self.finished:
                    extra = dict(report()) if report else {}
                    state = {"lr": self._learning_rate(self.step - 1), "skipped": self.skipped}
                    log.write({**means.take(), **extra, **state}, samples)
                if self.step % self.settings.save_every == 0 or stop:
                    self.save()
                if stop:
                    break
        if asked:
            raise KeyboardInterrupt

    def save(self) -> Path | None:
        """Write a checkpoint of the present step; nothing without `out`."""
        if self.out is None:
            return None
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer_tensors(self.optimizers, self.model)}
        if self._average is not None:
            tensors["ema"] = self._average.state
        state = {"skipped": self.skipped, "settings": attrs.asdict(self.settings), "random": random_state()}
        return save_checkpoint(self.out / "checkpoints", self.step, tensors, state)

    def resume(self) -> int:
        """Take up the newest complete checkpoint in `out`, if any; the step the run stands at."""
        path = newest_checkpoint(self.out / "checkpoints") if self.out else None
        if path is None:
            return self.step
        checkpoint = load_checkpoint(path, self.device)
        self._check_settings(checkpoint.state["settings"], path)
        try:
            self.model.load_state_dict(checkpoint.tensors["model"])
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint {path} belongs to another model: {error}") from error
        restore_optimizers(self.optimizers, self.model, checkpoint.tensors["optimizer"])
        self.step, self.skipped = checkpoint.state["step"], checkpoint.state["skipped"]
        if self._average is not None:
            self._average.state = checkpoint.tensors["ema"]
            self._average.updates = self.step - self.skipped
        restore_random_state(checkpoint.state["random"])
        return self.step

    def _start(self, resume: bool) -> None:
        if resume:
            self.resume()
        elif self.step == 0 and self.out and newest_checkpoint(self.out / "checkpoints"):
            raise CheckpointError(f"{self.out} already holds a run; resume it, or choose another folder.")
        if self.step == 0:
            seed_everything(self.settings.seed)

    def _advance(self, stream: Iterator[B], step: StepFunction[M, B], means: MetricMeans) -> None:
        """One update of the weights from `accumulate` batches, or none if the gradient is not finite."""
        parts = []
        for batch in islice(stream, self.settings.accumulate):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
                metrics = step(self.model, to_device(batch, self.device))
            (metrics["loss"] / self.settings.accumulate).backward()
            parts.append({name: value.detach() for name, value in metrics.items()})
        if len(parts) < self.settings.accumulate:
            raise DataError(f"the batches ended at step {self.step} of {self.settings.steps}; give endless ones.")
        norm = nn.utils.clip_grad_norm_(self._trained, self.settings.clip or math.inf)
        if math.isfinite(norm + sum(part["loss"] for part in parts)):
            for group in self._groups():
                group["lr"] = self._learning_rate(self.step)
            for optimizer in self.optimizers:
                optimizer.step()
            if self._average is not None:
                self._average.update(self.model)
            for part in parts:
                means.add(part)
            self._skips_in_a_row = 0
        else:
            self._skip()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimisers; restoring a checkpoint replaces them."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _skip(self) -> None:
        self.skipped += 1
        self._skips_in_a_row += 1
        if self._skips_in_a_row >= SKIPS_IN_A_ROW:
            raise TrainingDiverged(
                f"up to step {self.step + 1} the loss or its gradient was not finite for {SKIPS_IN_A_ROW} steps in a"
                " row; lower the learning rate, or look for non-finite values in the data."
            )

    def _learning_rate(self, step: int) -> float:
        settings = self.settings
        return settings.lr * SCHEDULES[settings.schedule](step, settings.steps, settings.warmup_steps)

    def _stream(self, batches: Batches[B]) -> Iterator[B]:
        done = self.step * self.settings.accumulate
        if callable(batches):
            return iter(batches(done))
        return islice(batches, done, None)

    def _check_settings(self, saved: Mapping[str, Any], path: Path) -> None:
        present = attrs.asdict(self.settings)
        for name, value in present.items():
            before = saved.get(name)
            before = tuple(before) if isinstance(before, list) else before
            if name not in MAY_CHANGE_ON_RESUME and value != before:
                raise ConfigError(
                    f"the run in {path} was started with {name} = {before!r}, not {value!r};"
                    " resume it with the same value, or start anew in another folder."
                )


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM in the list it yields; a second one is handled as before."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def note(number: int, frame: object) -> None:
        received.append(number)
        restore()

    for number in numbers:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch on the device: tensors, things with a `to` method, and dicts, lists and tuples of them."""
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=True) if isinstance(batch, Tensor) else batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
