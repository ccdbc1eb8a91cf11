"""The processes that read, their watchdog, and the counts."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from fuzz.worker import FAULTS, SECONDS, Outcome, work

PATIENCE = 6 * SECONDS + 10  # seconds on the clock before a process counts as hung; others use the processor too
EXAMPLES = 5  # faults of a kind that are kept for each subject


@attrs.define
class Counts:
    """How many inputs of each group had which outcome, and examples of faults."""

    groups: dict[str, Counter[str]] = attrs.field(factory=dict)
    faults: list[Outcome] = attrs.field(factory=list)

    def add(self, outcome: Outcome) -> None:
        self.groups.setdefault(outcome.group, Counter())[outcome.kind] += 1
        alike = [f for f in self.faults if (f.subject, f.kind) == (outcome.subject, outcome.kind)]
        if outcome.kind in FAULTS and len(alike) < EXAMPLES:
            self.faults.append(outcome)

    @property
    def total(self) -> int:
        return sum(counter.total() for counter in self.groups.values())


class Worker:
    """A process that reads inputs, replaced by another one when it dies or hangs."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=work, args=(far, self.seed), daemon=True)
        self.process.start()
        far.close()
        self.number: int | None = None
        self.ready, self.since = False, time.monotonic()

    def ask(self, number: int) -> None:
        self.pipe.send(number)
        self.number, self.since = number, time.monotonic()

    def look(self) -> Outcome | None:
        """The outcome that has come, if one has; it is of the kind "crash" or "hang" if the process is lost."""
        try:
            if self.pipe.poll():
                if (said := self.pipe.recv()) == "ready":
                    self.ready = True
                    return None
                self.number = None
                return said
        except (EOFError, ConnectionError):
            return self._lost("crash", "the process ended")
        if self.number is not None and time.monotonic() - self.since > PATIENCE:
            return self._lost("hang", "does not come back to Python")
        return None

    def _lost(self, kind: str, said: str) -> Outcome | None:
        self.process.kill()
        self.process.join()
        code, number = self.process.exitcode, self.number
        if number is None:
            raise RuntimeError(f"a process of the campaign ended before it read anything: {code}")
        self.start()
        return Outcome(number, "", "", kind, f"{said}, exit code {code}")

    def end(self) -> None:
        try:
            self.pipe.send(None)
            self.process.join(20)
        except OSError:
            pass
        self.process.kill()


def run(
    seed: int, first: int, count: int, seconds: float, jobs: int, say: Callable[[Counts, int], Any]
) -> tuple[Counts, int]:
    """Read inputs from `first` on, at most `count` and for about so many seconds; the counts, and the next number."""
    os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    counts, following, end = Counts(), first, first + count
    workers = [Worker(seed) for _ in range(jobs)]
    began = said = time.monotonic()
    while True:
        idle = True
        for worker in workers:
            if (outcome := worker.look()) is not None:
                counts.add(_named(outcome, seed))
                idle = False
            late = time.monotonic() - began > seconds
            if worker.ready and worker.number is None and following < end and not late:
                worker.ask(following)
                following += 1
                idle = False
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(counts, following)
        busy = any(worker.number is not None for worker in workers)
        if not busy and (following >= end or time.monotonic() - began > seconds):
            break
        if idle:
            time.sleep(0.001)
    for worker in workers:
        worker.end()
    return counts, following


_READERS: dict[int, Any] = {}


def _named(outcome: Outcome, seed: int) -> Outcome:
    """The outcome with the subject that a lost process could not name."""
    if outcome.group:
        return outcome
    from fuzz.worker import Reader

    if seed not in _READERS:
        _READERS[seed] = Reader(seed)
    subject, victim, _, _ = _READERS[seed].input(outcome.number)
    return attrs.evolve(outcome, group=subject.group, subject=f"{subject.name}: {victim}")
