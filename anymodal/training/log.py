"""What a run tells: this file decides the lines of log.jsonl and what appears on the terminal.

log.jsonl holds one object per logged step: step, the mean of every metric since the line before, whatever else the run
reports, samples_per_second, and seconds (wall time of the run so far). A resumed run first drops the lines past its
step, then continues as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

LINE_EVERY = 30.0  # seconds between lines where there is no terminal


class MetricMeans:
    """Running means of scalar tensors; they stay on their device until somebody reads them."""

    def __init__(self) -> None:
        self.totals: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            total = self.totals.get(name)
            self.totals[name] = value.detach().float() if total is None else total + value.detach()
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: float(total) / self.counts[name] for name, total in self.totals.items()}
        self.totals, self.counts = {}, {}
        return means


def read_log(path: Path) -> list[dict[str, Any]]:
    """The objects of a log; a last line that was cut off is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


class TrainingLog:
    """Writes the log file and draws progress: a bar on a terminal, else a line now and then if `verbose`."""

    def __init__(self, path: Path | None, step: int, steps: int, verbose: bool = False) -> None:
        self.path, self.step, self.steps, self.verbose = path, step, steps, verbose
        self.console = Console(stderr=True)
        self.started = self.last_line = self.last_time = time.monotonic()
        self.last_step = step
        self.earlier = 0.0
        self.progress: Progress | None = None

    def __enter__(self) -> TrainingLog:
        if self.path is not None:
            self._continue_file(self.path)
        if sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
            self.progress = Progress(*columns, console=self.console, refresh_per_second=2)
            self.task = self.progress.add_task("training", total=self.steps, completed=self.step, text="")
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.progress is not None:
            self.progress.stop()

    def advance(self, step: int) -> None:
        """Move the bar."""
        self.step = step
        if self.progress is not None:
            self.progress.update(self.task, completed=step)

    def write(self, metrics: Mapping[str, float], samples_per_step: int) -> None:
        """Append the line of the present step."""
        now = time.monotonic()
        rate = (self.step - self.last_step) * samples_per_step / max(now - self.last_time, 1e-9)
        self.last_step, self.last_time = self.step, now
        seconds = self.earlier + now - self.started
        record = {"step": self.step, **metrics, "samples_per_second": round(rate, 2), "seconds": round(seconds, 2)}
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({key: _finite(value) for key, value in record.items()}) + "\n")
        self._show(metrics, rate, now)

    def _show(self, metrics: Mapping[str, float], rate: float, now: float) -> None:
        text = "  ".join([*(f"{name} {value:.4g}" for name, value in metrics.items()), f"{rate:.0f} samples/s"])
        if self.progress is not None:
            self.progress.update(self.task, text=text)
        elif self.verbose and (now - self.last_line >= LINE_EVERY or self.step >= self.steps):
            self.last_line = now
            self.console.print(f"step {self.step}/{self.steps}  {text}", highlight=False, soft_wrap=True)

    def _continue_file(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [record for record in read_log(path) if record["step"] <= self.step]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(record) + "\n" for record in kept))
        partial.replace(path)
        self.earlier = kept[-1]["seconds"] if kept else 0.0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
