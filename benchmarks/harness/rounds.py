"""Rounds of workers in turn, so that what else the machine does hits all of them alike.

Ratios to the floor and to the twin are those of processor time, which waiting for a busy machine does not change.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from benchmarks.harness.base import Case

CONFIDENCE = 0.95


class WorkerError(RuntimeError):
    """A worker ended instead of answering: what it said last."""


@attrs.frozen
class Job:
    """A row to be measured: a benchmark with its settings, one of its cases, and how many threads."""

    name: str
    settings: Mapping[str, Any]
    case: Case
    threads: int

    @property
    def arguments(self) -> list[str]:
        return [self.name, json.dumps(dict(self.settings)), json.dumps(dict(self.case)), str(self.threads)]

    @property
    def row(self) -> dict[str, Any]:
        """What names the row."""
        return {"benchmark": self.name, **self.settings, **self.case, "threads": self.threads}


class Process:
    """A worker that is asked line by line; `folders` are where it imports from."""

    def __init__(self, job: Job, folders: Sequence[Path]) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
            "OMP_NUM_THREADS": str(job.threads),
            "MKL_NUM_THREADS": str(job.threads),
        }
        command = [sys.executable, "-m", "benchmarks.harness.worker", *job.arguments]
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe would stop it where nobody reads along
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.said}
        self.process = subprocess.Popen(command, text=True, env=environment, cwd=folders[0], **pipes)  # type: ignore[call-overload]

    def ask(self, what: str) -> Any:
        """The answer. Raises WorkerError with the last line of what went wrong."""
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.communicate()
            self.said.seek(0)
            said = self.said.read().strip().splitlines()
            raise WorkerError(said[-1] if said else f"a worker ended with code {self.process.returncode}")
        return json.loads(line)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


@attrs.frozen
class Limits:
    """How many rounds: at least `least`, then until there are `most` or `seconds` are over."""

    least: int = 3
    most: int = 15
    seconds: float = 40.0
    twins: int = 3


def measure(job: Job, here: Sequence[Path], there: Sequence[Path] | None, limits: Limits) -> dict[str, Any]:
    """A row: what a job took here, the floor and the twin in the same rounds, and another revision `there`.

    Raises WorkerError if it cannot be run here.
    """
    with Process(job, here) as mine:
        about = mine.ask("about")
        row = {**job.row, "items": about["items"], "unit": about["unit"]}
        if there is None:
            first = mine.ask("run")
            row |= _alone(mine, about["twin"], limits)
        else:
            with Process(job, there) as other:
                first = mine.ask("run")
                try:
                    other.ask("run")
                    row |= _against(mine, other, limits)
                except WorkerError as error:
                    row["against"] = {"error": str(error)}
        return row | {"peak_mb": first["peak_mb"]}


def _alone(mine: Process, twin: bool, limits: Limits) -> dict[str, Any]:
    parts = mine.ask("count")["parts"]
    runs, floors, twins, begun = [], [], [], time.monotonic()
    while _goes_on(len(runs), begun, limits):
        runs.append(mine.ask("run"))
        if parts:
            floors.append(mine.ask("floor")["seconds"])
        if twin and len(twins) < limits.twins:
            twins.append(mine.ask("twin"))
    row = _spent(runs)
    if parts:
        row["floor"], processor = (_floor(parts, floors, clock) for clock in ("wall", "cpu"))
        row["gflop"] = sum(count * flops for _, count, flops, _ in parts) / 1e9
        row["gbyte"] = sum(count * size for _, count, _, size in parts) / 1e9
        row["of_floor"] = row["cpu"] / processor
    if twins:
        row["twin"] = statistics.median(each["wall"] for each in twins)
        row["of_twin"] = statistics.median(each["cpu"] for each in twins) / row["cpu"]
    return row


def _floor(parts: Sequence[Sequence[Any]], floors: Sequence[Sequence[Mapping[str, float]]], clock: str) -> float:
    """Seconds of all parts together, each at its median over the rounds."""
    columns = zip(*([each[clock] for each in round_] for round_ in floors), strict=True)
    return sum(part[1] * statistics.median(column) for part, column in zip(parts, columns, strict=True))


def _against(mine: Process, other: Process, limits: Limits) -> dict[str, Any]:
    ours, theirs, begun = [], [], time.monotonic()
    while _goes_on(len(ours), begun, limits):
        pair = [(mine, ours), (other, theirs)]
        for process, runs in pair if len(ours) % 2 else pair[::-1]:
            runs.append(process.ask("run"))
    result = {}
    for key in ("wall", "cpu"):
        ratios = [b[key] / a[key] for a, b in zip(ours, theirs, strict=True)]
        low, high = interval(ratios)
        result[key] = {"faster": statistics.median(ratios), "low": low, "high": high}
    return {**_spent(ours), "against": {**result, "seconds": _spent(theirs)["wall"]}}


def _goes_on(done: int, begun: float, limits: Limits) -> bool:
    return done < limits.least or (done < limits.most and time.monotonic() - begun < limits.seconds)


def _spent(runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    walls = sorted(each["wall"] for each in runs)
    quarter = (len(walls) - 1) // 4
    return {
        "wall": statistics.median(walls),
        "spread": [walls[quarter], walls[-1 - quarter]],
        "cpu": statistics.median(each["cpu"] for each in runs),
        "rounds": len(runs),
    }


def sureness(count: int) -> float:
    """How surely `interval` of so many values holds the median: all of them lie on one side of it by chance."""
    return min(CONFIDENCE, 1 - 2 / 2**count)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values between which the median of their distribution lies with 95 %, by the sign test.

    With fewer than six values, the least and the largest, which hold it less surely (`sureness`).
    """
    ordered, n = sorted(values), len(values)
    outside, below = (1 - CONFIDENCE) / 2, 0.0
    for rank in range(n // 2):
        below += math.comb(n, rank) / 2**n
        if below > outside:
            return ordered[max(rank - 1, 0)], ordered[n - 1 - max(rank - 1, 0)]
    return ordered[0], ordered[-1]
