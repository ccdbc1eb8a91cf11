"""What a run tells: this file decides the lines of log.jsonl and what appears on the terminal.

log.jsonl holds one object per logged step: step, the mean of every metric since the line before, whatever else the run
reports, samples_per_second, waiting (share of the time spent waiting for data), and seconds (wall time of the run so
far). evaluation.jsonl holds one object per evaluation. A resumed run first drops the lines past its step, and what is
no line of a step, then continues as if nothing had happened; the means so far are in the checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any

import torch
from torch import Tensor

from anymodal.data.schema import is_count
from anymodal.durable import sync
from anymodal.errors import DataError, cause, system_errors
from anymodal.files import replacing
from anymodal.nn.distributed import World
from anymodal.progress import Task, has_bars, say, task
from anymodal.training.trackers import Tracker

PICTURES = "samples"  # the folder of what was made at evaluations
LONGEST_LINE = 64 * 1024  # bytes
LONGEST_RUN = 1e10  # seconds


class MetricMeans:
    """Running means of scalar tensors; they stay on their device until somebody reads them."""

    def __init__(self) -> None:
        self.totals: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            own, total = value.detach().float(), self.totals.get(name)  # one type, as processes add up what they hold
            self.totals[name] = own if total is None else total + own
            self.counts[name] = self.counts.get(name, 0) + 1

    def sums(self, world: World) -> dict[str, list[float]]:
        """Sum over all processes and count of every metric since the last `take`, for a run that is resumed."""
        if not self.totals:
            return {}
        sums = world.sum(torch.stack(list(self.totals.values()))).tolist()
        return {name: [total, self.counts[name]] for name, total in zip(self.totals, sums, strict=True)}

    def resume(self, sums: Mapping[str, Sequence[float]], world: World) -> None:
        """Go on from what `sums` gave; the first process has it for all."""
        self.counts = {name: int(count) for name, (_, count) in sums.items()}
        self.totals = {
            name: torch.tensor(total if world.is_first else 0.0, device=world.device)
            for name, (total, _) in sums.items()
        }

    def take(self, world: World) -> dict[str, float]:
        """The means since the last call of sums over all processes, which have the same metrics."""
        means = {name: total / count for name, (total, count) in self.sums(world).items()}
        self.totals, self.counts = {}, {}
        return means


class ProblemLog:
    """problems.jsonl: one object for each sample that could not be used, {"step", "problem"}; processes share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, step: int, lines: Iterable[str]) -> None:
        _append(self.path, "".join(json.dumps({"step": step, "problem": line}) + "\n" for line in lines))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The objects of a log, without lines that are none of a step, such as a last one that was cut off.

    Raises DataError for a file that cannot be read.
    """
    records: list[dict[str, Any]] = []
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                with suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if _is_record(record):
                        records.append(record)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot read {path}: {cause(error)}") from None
    return records


def _is_record(record: Any) -> bool:
    """Whether a line of a log is of a step, and says nothing but numbers and texts."""
    if not isinstance(record, dict) or not is_count(record.get("step")):
        return False
    return all(isinstance(value, (int, float, str, NoneType)) for value in record.values())


def _seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """The wall time of a run up to the last of its lines that says one."""
    for record in reversed(records):
        value = record.get("seconds")
        if isinstance(value, (int, float)) and 0 <= value <= LONGEST_RUN:
            return float(value)
    return 0.0


class TrainingLog:
    """Writes the log files and draws progress: a bar on a terminal, else a line now and then if `verbose`.

    `path` of log.jsonl, or None for no files; `samples` of a step; `quiet`: draw nothing, not even on a terminal.
    """

    def __init__(
        self,
        path: Path | None,
        step: int,
        steps: int,
        samples: int,
        verbose: bool = False,
        *,
        quiet: bool = False,
        trackers: Iterable[Tracker] = (),
    ) -> None:
        self.path, self.step, self.steps, self.samples = path, step, steps, samples
        self.verbose, self.quiet, self.trackers = verbose, quiet, tuple(trackers)
        self.started = self.last_time = time.monotonic()
        self.last_step = step
        self.earlier = self.waiting = 0.0
        self.task: Task | None = None
        self._stack = ExitStack()

    def __enter__(self) -> TrainingLog:
        if self.path is not None:
            kept = _drop_lines_past(self.path, self.step)
            _drop_lines_past(self._evaluations, self.step)
            if (problems := self.path.with_name("problems.jsonl")).exists():
                _drop_lines_past(problems, self.step)
            _drop_pictures_past(self.path.with_name(PICTURES), self.step)
            self.earlier = _seconds(kept)
        if not self.quiet:
            self.task = self._stack.enter_context(task("step", self.steps, self.step, keep=self.verbose))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def _evaluations(self) -> Path:
        assert self.path is not None
        return self.path.with_name("evaluation.jsonl")

    def sync(self) -> None:
        """Have the lines so far written to disk, as a checkpoint of the same step will be. Raises DataError."""
        for path in (self.path, self._evaluations) if self.path is not None else ():
            if path.exists():
                with system_errors(DataError, f"cannot write {path}"):
                    sync(path)

    def advance(self, step: int) -> None:
        """Move the bar."""
        self.step = step
        if self.task is not None:
            self.task.update(step)

    def waited(self, seconds: float) -> None:
        """Note how long training waited for data."""
        self.waiting += seconds

    def say(self, text: str) -> None:
        """A line for people, above the bar."""
        if not self.quiet and (self.verbose or has_bars()):
            say(text)

    def write(self, metrics: Mapping[str, float]) -> None:
        """Append the line of the present step."""
        now = time.monotonic()
        passed = max(now - self.last_time, 1e-9)
        rate, waiting = (self.step - self.last_step) * self.samples / passed, self.waiting / passed
        self.last_step, self.last_time, self.waiting = self.step, now, 0.0
        speed = {"samples_per_second": round(rate, 2), "waiting": round(waiting, 4)}
        if self.path is not None:
            _append(
                self.path, _line({"step": self.step, **metrics, **speed, "seconds": self.earlier + now - self.started})
            )
        for tracker in self.trackers:
            tracker.numbers(self.step, {**metrics, **speed})
        text = "  ".join([*(f"{name} {value:.4g}" for name, value in metrics.items()), f"{rate:.0f} samples/s"])
        if self.task is not None:
            self.task.update(self.step, text)

    def write_evaluation(self, metrics: Mapping[str, float]) -> None:
        """Append the line of an evaluation at the present step."""
        if self.path is not None:
            _append(self._evaluations, _line({"step": self.step, **metrics}))
        for tracker in self.trackers:
            tracker.numbers(self.step, {f"evaluation/{name}": value for name, value in metrics.items()})
        if "loss" in metrics:
            self.say(f"step {self.step}/{self.steps}  evaluation: loss {metrics['loss']:.4g}")


def _line(record: Mapping[str, float]) -> str:
    return json.dumps({key: _finite(value) for key, value in record.items()}) + "\n"


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a") as file:
            file.write(text)
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from None


def _drop_lines_past(path: Path, step: int) -> list[dict[str, Any]]:
    """The records of a log up to a step, which are all that it holds afterwards."""
    kept = [record for record in read_log(path) if record["step"] <= step]
    with replacing(path) as partial:
        partial.write_text("".join(json.dumps(record) + "\n" for record in kept))
    return kept


def _drop_pictures_past(folder: Path, step: int) -> None:
    """Remove pictures of what was made after a step, where a run goes on from there."""
    for path in folder.glob("step-*.png"):
        if (number := path.stem.removeprefix("step-")).isdecimal() and int(number) > step:
            path.unlink()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
