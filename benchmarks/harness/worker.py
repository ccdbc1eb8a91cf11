"""A process with one case: it prepares the work, and runs it, its floor or its twin for each line that it reads.

It is started by rounds.py, also with the package of another revision, and answers in lines of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch

from benchmarks.harness.base import Part, Sample, Timed, Work, load


def processor() -> float:
    """Seconds of processor time of this process and of those that it waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak() -> float:
    """The most memory that this process ever had, in megabytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kilobytes elsewhere


def measured(run: Callable[[], Any]) -> Sample:
    wall, cpu = time.perf_counter(), processor()
    own = run()
    spent = Sample(time.perf_counter() - wall, processor() - cpu, peak())
    return own if isinstance(own, Sample) else spent


class Worker:
    """Answers of one case; the floor is made when it is first asked for, so that it adds nothing to the peak before."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.parts: Sequence[Part] = ()

    def about(self) -> Mapping[str, Any]:
        return {"twin": self.work.twin is not None, "items": self.work.items, "unit": self.work.unit}

    def count(self) -> Mapping[str, Any]:
        self.parts = self.work.floor()
        return {"parts": [[part.label, part.count, part.flops, part.bytes] for part in self.parts]}

    def floor(self) -> Mapping[str, Any]:
        """The seconds of each part."""
        return {"seconds": [attrs.asdict(measured(part.run)) for part in self.parts]}

    def run(self) -> Mapping[str, Any]:
        return attrs.asdict(measured(self.work.run))

    def twin(self) -> Mapping[str, Any]:
        assert self.work.twin is not None
        return attrs.asdict(measured(self.work.twin))


def main() -> None:
    name, settings, case, threads = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the work prints is none of the answers
    torch.set_num_threads(threads)
    benchmark = load(name, settings)
    assert isinstance(benchmark, Timed)
    worker = Worker(benchmark.prepare(case))
    answers = {"about": worker.about, "count": worker.count, "floor": worker.floor}
    answers |= {"run": worker.run, "twin": worker.twin}
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), file=out)


if __name__ == "__main__":
    main()
