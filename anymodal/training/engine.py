"""The training loop: this file decides in which order a step does things, and when a run saves, stops or gives up."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import torch
from torch import Tensor, nn

from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.nn.distributed import alone
from anymodal.training.average import WeightAverage
from anymodal.training.checkpoint import CheckpointFolder, fill_tensors, optimizer_tensors
from anymodal.training.device import to_device
from anymodal.training.fingerprint import check_same_run
from anymodal.training.in_backward import StepsInBackward
from anymodal.training.log import MetricMeans, ProblemLog, TrainingLog
from anymodal.training.objective import MeanOf, Objective, StepFunction
from anymodal.training.parallel import gradients_kept, lay_out, let_go, whole
from anymodal.training.precision import as_begun, resolved
from anymodal.training.progress import SKIPS_IN_A_ROW, Progress, TrainingDiverged
from anymodal.training.runtime import Runtime, WeightFacts
from anymodal.training.seeding import seed_everything
from anymodal.training.settings import TrainingSettings
from anymodal.training.signals import stop_requests
from anymodal.training.sparse_adamw import clip_gradients
from anymodal.training.stored import best_checkpoint, newest_checkpoint, read_state

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")
Batches = Iterable[B] | Callable[[int], Iterable[B]]
Ends = Callable[[], bool]
Evaluate = Callable[["Engine[Any]"], Mapping[str, float]]


class Engine(Generic[M]):
    """Trains one model: optimizer, mixed precision, clipping, averaged weights, checkpoints and a log.

    Args:
        model: moved to the device and trained in place.
        settings: of the training; those of the engine say which precision "auto" is.
        out: folder for checkpoints/ and log.jsonl; without it nothing is written and nothing can be resumed.
        runtime: where and how the run trains.
        weights: what is known of the model's weights.
    """

    def __init__(
        self,
        model: M,
        settings: TrainingSettings,
        out: Path | None = None,
        runtime: Runtime | None = None,
        weights: WeightFacts | None = None,
    ) -> None:
        self.runtime, self._facts = runtime or Runtime(), weights or WeightFacts()
        self.world = self.runtime.world or alone(self.runtime.device)
        self.device = self.world.device
        self.model, self.out = model, out
        self._asked, self.settings = settings, resolved(settings, self.world)
        self.progress = Progress()
        settings.optimizer.check(self.world.size)
        self.called = lay_out(model, self.runtime.parallel, self.world)
        self.optimizers = settings.optimizer.build(self.model, settings.lr)
        self._within = StepsInBackward(self.optimizers) if settings.optimizer.in_backward else None
        self._trained = [p for group in self._groups() for p in group["params"]]
        self._average = WeightAverage(self.model, settings.ema, self._facts.frozen) if settings.ema else None
        saving = self.runtime.saving
        self._checkpoints = CheckpointFolder(out / "checkpoints", saving, self.world) if out else None
        self._means = MetricMeans()
        self._score: tuple[int, float] = (-1, math.inf)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    @property
    def skipped(self) -> int:
        """Steps that changed nothing, because the gradient could not be used."""
        return self.progress.skipped

    @property
    def finished(self) -> bool:
        """Whether all steps are done; False after a run that ended early."""
        return self.step >= self.settings.steps

    def weights(self) -> dict[str, Tensor]:
        """The result by name: averaged weights if there are any. Whole tensors on the CPU.

        All processes must ask together; where weights are split, the first one alone gets them, one after the other.
        """
        state = self.model.state_dict() | (self._average.state if self._average else {})
        found = {}
        for name, tensor in state.items():
            full = whole(tensor)
            if self.world.is_first or full is tensor:
                found[name] = full.cpu()
        return found

    def autocast(self) -> torch.autocast:
        """A block whose forward passes run in the precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has its averaged weights while the block runs, and is in evaluation mode."""
        present = self.model.state_dict()
        averages = self._average.state if self._average else {}
        kept = {name: present[name].clone() for name in averages}
        for name, average in averages.items():
            present[name].copy_(average)
        self.model.eval()
        try:
            yield
        finally:
            for name, tensor in kept.items():
                present[name].copy_(tensor)
            let_go(self.model)
            self.model.train()

    def run(
        self,
        batches: Batches[B],
        objective: Objective[M, B] | StepFunction[M, B],
        *,
        report: Callable[[], Mapping[str, float]] | None = None,
        evaluate: Evaluate | None = None,
        evaluate_every: int = 0,
        resume: bool = False,
    ) -> None:
        """Train until all steps are done, `max_minutes` are over, or the process is requested to end.

        With `out`, SIGINT and SIGTERM let the step finish and save; SIGINT then raises KeyboardInterrupt, and a second
        one ends at once. Without it they do what they do elsewhere.

        Args:
            batches: endless batches, `accumulate` of them an update, or a function that makes them starting with batch
                number n (from 0). With the function a resumed run repeats no work; other iterables are read again from
                the start up to where the run stopped.
            objective: an `Objective`, or a function (model, batch) -> metrics, scalar tensors that are means over a
                batch. "loss" is minimized, all are logged as means.
            report: called when a line is logged, for values that are not means over steps.
            evaluate: called every `evaluate_every` steps and after the last; "loss" of its metrics chooses the best
                checkpoints.
            resume: continue from the newest checkpoint in `out`, if there is one, on any number of processes. With a
                function of deterministic batches the result equals that of an uninterrupted run, bit for bit on a CPU.

        Raises:
            DataError: the batches ran out, or too many samples are unusable.
            TrainingDiverged: 20 steps in a row had to be skipped.
            CheckpointError: `out` holds a run that is not to be resumed, or a checkpoint cannot be read or written.
        """
        objective = objective if isinstance(objective, Objective) else MeanOf(objective)
        self._start(resume)
        deadline = time.monotonic() + 60 * (self.settings.max_minutes or math.inf)
        stream = self._stream(batches)
        self.model.train()
        with self._requests() as requested, self._log() as log:
            log.say(f"training in {self.settings.precision} on {self.device}")
            ends = lambda: bool(requested) or time.monotonic() >= deadline  # noqa: E731
            while not self.finished:
                stop = self._advance(stream, objective, log, ends) or self.finished
                log.advance(self.step)
                evaluated = bool(evaluate_every) and (self.step % evaluate_every == 0 or self.finished)
                if evaluate and evaluated:
                    self._evaluate(evaluate, log)
                if self.step % self.settings.log_every == 0 or self.finished:
                    log.write({**self._means.take(self.world), **(report() if report else {}), **self._condition()})
                if self.step % self.settings.save_every == 0 or stop or (evaluated and self.runtime.saving.best > 0):
                    log.sync()
                    self.save()
                elif self._checkpoints is not None:
                    self._checkpoints.poll()
                if stop:
                    break
            if self._checkpoints is not None:
                self._checkpoints.finish()
        if signal.SIGINT in requested:
            raise KeyboardInterrupt

    def _requests(self) -> AbstractContextManager[list[int]]:
        """Requests to end are collected only where that saves: half a result would look like a whole one."""
        return stop_requests() if self.out else nullcontext([])

    def save(self) -> None:
        """Begin to write a checkpoint of the present step; nothing without `out`."""
        if self._checkpoints is None:
            return
        step, score = self._score
        state = {
            "settings": attrs.asdict(self.settings),
            "fingerprint": dict(self._facts.fingerprint),
            "progress": attrs.asdict(self.progress),
            "score": score if step == self.step else None,
            "means": self._means.sums(self.world),
        }
        self._checkpoints.save(self.step, self._tensors(), state)

    def resume(self) -> int:
        """Take up the newest complete checkpoint in `out`, if any; the step the run stands at."""
        path = self._found(newest_checkpoint)
        if path is None:
            return self.step
        state = read_state(path)
        try:
            progress = structure(state.get("progress", "none"), Progress, "its progress")
        except ConfigError as error:
            raise CheckpointError(f"{path} is damaged: {error}; delete it to fall back on an older one.") from None
        check_same_run(path, state, self._asked, self._facts.fingerprint)
        self.settings = as_begun(self.settings, path, state)
        fill_tensors(path, self._tensors(), self.world)
        if self._checkpoints is not None:
            self._checkpoints.make_room()
        self.progress = progress
        self._means.resume(state.get("means", {}), self.world)
        if self._average is not None:
            self._average.updates = self.progress.updates
        return self.step

    def take_best(self) -> None:
        """Go back to the weights with the lowest loss in the evaluation. Raises CheckpointError if none is kept."""
        path = self._found(best_checkpoint)
        if path is None:
            raise CheckpointError(f"{self.out} keeps no checkpoint that was evaluated, so none is the best")
        fill_tensors(path, self._tensors(), self.world)

    def _found(self, find: Callable[[Path], Path | None]) -> Path | None:
        """The checkpoint that the first process finds in the folder of checkpoints."""
        path = find(self.out / "checkpoints") if self.out and self.world.is_first else None
        step = self.world.agree(int(path.name.removeprefix("step-")) if path else -1)
        return self.out / "checkpoints" / f"step-{step:08d}" if self.out and step >= 0 else None

    def _tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint holds, by name; to fill them is to resume."""
        state = self.model.state_dict()
        tensors = {f"model/{name}": tensor for name, tensor in state.items() if name not in self._facts.frozen}
        optimizers = optimizer_tensors(self.optimizers, self.model)
        tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizers.items()}
        if self._average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self._average.state.items()}
        return tensors

    def _start(self, resume: bool) -> None:
        if resume:
            self.resume()
        elif self.step == 0 and self._found(newest_checkpoint):
            raise CheckpointError(f"{self.out} already holds a run; resume it, or choose another folder.")

    def _log(self) -> TrainingLog:
        samples = self.settings.batch_size
        if not self.world.is_first:
            return TrainingLog(None, self.step, self.settings.steps, samples, quiet=True)
        path = self.out / "log.jsonl" if self.out else None
        runtime = self.runtime
        return TrainingLog(path, self.step, self.settings.steps, samples, runtime.verbose, trackers=runtime.trackers)

    def _advance(self, stream: Iterator[B], objective: Objective[M, B], log: TrainingLog, ends: Ends) -> bool:
        """One update of the weights from `accumulate` batches, or none if the gradient cannot be used.

        Returns whether any process was asked to stop.
        """
        batches = self._fetch(stream, log)
        seed_everything(self.settings.seed, self.step, self.world.rank)
        problems = [line for batch in batches for line in objective.problems(batch)]
        for group in self._groups():
            group["lr"] = self._learning_rate(self.step)
        sums = self._backward(batches, objective)
        norm = self._clipped()
        own = torch.tensor([sums["loss"], ends(), len(problems)], dtype=torch.float64, device=self.device)
        loss, requested, bad = self.world.sum(own).tolist()
        self._note_problems(problems, int(bad))
        if self.progress.usable(float(norm), loss, self.settings.explosion):
            self._update(float(norm))
            self._means.add({**sums, "gradient_norm": norm / self.world.size})
        else:
            self._skip(float(norm), loss, log)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        return requested > 0

    def _fetch(self, stream: Iterator[B], log: TrainingLog) -> list[B]:
        """The batches of an update."""
        began = time.monotonic()
        batches = list(islice(stream, self.settings.accumulate))
        log.waited(time.monotonic() - began)
        if len(batches) < self.settings.accumulate:
            raise DataError(f"the batches ended at step {self.step} of {self.settings.steps}; give endless ones.")
        return batches

    def _backward(self, batches: Sequence[B], objective: Objective[M, B]) -> dict[str, Tensor]:
        """Leave the gradients of an update in the model; this process's part of each metric, summed over batches."""
        totals = self.world.sum(objective.totals(batches).to(self.device))
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, 1):
            with self.autocast():
                metrics = objective(self.called, to_device(batch, self.device), totals)  # type: ignore[arg-type]
            if self._within is not None:
                self._within.begin(metrics["loss"], self._facts.unused(self.step))
            with gradients_kept(self.called, number == len(batches)):
                # Gradients are averaged over processes, metrics are to be summed.
                (metrics["loss"] * self.world.size).backward()
            for name, value in metrics.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        return sums

    def _clipped(self) -> Tensor:
        """Shorten the gradients to `clip`, without those of unused parameters; their length before."""
        if self._within is not None:
            return self._within.end()
        for parameter in self._facts.unused(self.step):
            parameter.grad = None
        return whole(clip_gradients(self._trained, self.settings.clip or math.inf))

    def _update(self, norm: float) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
        if self._average is not None:
            self._average.update(self.model)
        self.progress.count_update(norm)

    def _groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _skip(self, norm: float, loss: float, log: TrainingLog) -> None:
        too_many = self.progress.count_skip()
        log.say(
            f"step {self.step + 1} skipped: loss {loss:.4g}, gradient {norm:.4g} (usually {self.progress.usual:.4g})"
        )
        if too_many:
            raise TrainingDiverged(
                f"up to step {self.step + 1} the loss or its gradient was not finite, or exploded, for {SKIPS_IN_A_ROW}"
                " steps in a row; lower the learning rate, or look for non-finite values in the data."
            )

    def _note_problems(self, lines: list[str], everywhere: int) -> None:
        if lines and self.out:
            ProblemLog(self.out / "problems.jsonl").add(self.step + 1, lines)
        last = f"; the last one: {lines[-1]}" if lines else ""
        self.progress.count_bad(everywhere, self.settings, f" (see {self.out}/problems.jsonl){last}")

    def _evaluate(self, evaluate: Evaluate, log: TrainingLog) -> None:
        with self.averaged():
            metrics = evaluate(self)
        self._score = (self.step, metrics.get("loss", math.inf))
        log.write_evaluation(metrics)

    def _condition(self) -> dict[str, float]:
        """What a line of the log says about the run itself."""
        return {
            "lr": self._learning_rate(self.step - 1),
            "skipped": self.progress.skipped,
            "bad_samples": self.progress.bad,
        }

    def _learning_rate(self, step: int) -> float:
        return self.settings.lr * self.settings.schedule.share(step, self.settings.steps)

    def _stream(self, batches: Batches[B]) -> Iterator[B]:
        done = self.step * self.settings.accumulate
        if callable(batches):
            return iter(batches(done))
        return islice(batches, done, None)
