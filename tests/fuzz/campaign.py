"""The processes that read, their watchdog, and the counts."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from fuzz.worker import FAULTS, KINDS, SECONDS, Board, Outcome, work

PATIENCE = 6 * SECONDS + 10  # seconds on the clock before a process counts as hung; others use the processor too
EXAMPLES = 5  # faults of a kind that are kept for each subject
PORTION = 250  # inputs that a process is asked for at once
SUBJECTS = 4096  # the most subjects there may be


@attrs.define
class Counts:
    """How many inputs of each group had which outcome, and examples of faults."""

    groups: dict[str, Counter[str]] = attrs.field(factory=dict)
    faults: list[Outcome] = attrs.field(factory=list)

    def keep(self, outcome: Outcome) -> None:
        """Keep a fault as an example, unless there are several like it."""
        alike = [f for f in self.faults if (f.subject, f.kind) == (outcome.subject, outcome.kind)]
        if len(alike) < EXAMPLES:
            self.faults.append(outcome)

    @property
    def total(self) -> int:
        return sum(counter.total() for counter in self.groups.values())

    @property
    def bad(self) -> int:
        return sum(counter[kind] for counter in self.groups.values() for kind in FAULTS)


class Worker:
    """A process that reads ranges of inputs, replaced by another one when it dies or hangs."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.context = multiprocessing.get_context("spawn")
        raw = self.context.RawValue
        self.board = Board(raw("q", -1), raw("q", 0), raw("d", 0), self.context.RawArray("q", SUBJECTS * len(KINDS)))
        self.subjects: list[tuple[str, str]] = []
        self.asked = range(0)
        self.start()

    def start(self) -> None:
        self.board.number.value = -1
        self.pipe, far = self.context.Pipe()
        self.process = self.context.Process(target=work, args=(far, self.seed, self.board), daemon=True)
        self.process.start()
        far.close()
        self.ready = False

    @property
    def idle(self) -> bool:
        return self.ready and not self.asked

    def ask(self, numbers: range) -> None:
        self.asked = numbers
        if numbers:
            self.board.since.value = time.monotonic()
            self.pipe.send(numbers)

    def look(self, found: Counts) -> None:
        """Keep the faults that have come; a process that is lost is one, and another goes on after the input."""
        try:
            while self.pipe.poll():
                said = self.pipe.recv()
                if isinstance(said, list):
                    self.subjects, self.ready = said, True
                    self.ask(self.asked)
                elif said is None:
                    self.asked = range(0)
                else:
                    found.keep(said)
        except (EOFError, ConnectionError):
            found.keep(self._lost("crash", "the process ended"))
            return
        if self.ready and self.asked and time.monotonic() - self.board.since.value > PATIENCE:
            found.keep(self._lost("hang", "does not come back to Python"))

    def _lost(self, kind: str, said: str) -> Outcome:
        if kind == "crash":
            self.process.join(5)
        self.process.kill()
        self.process.join()
        code, number, place = self.process.exitcode, self.board.number.value, self.board.subject.value
        if number not in self.asked:
            raise RuntimeError(f"a process of the campaign ended while it read nothing: {code}")
        self.board.counts[place * len(KINDS) + KINDS.index(kind)] += 1
        self.asked = range(number + 1, self.asked.stop)
        self.start()
        return Outcome(number, *self.subjects[place], kind, f"{said}, exit code {code}")

    def count(self, groups: dict[str, Counter[str]]) -> None:
        """Add what this process and the ones before it have counted."""
        for place, (group, _) in enumerate(self.subjects):
            row = self.board.counts[place * len(KINDS) : (place + 1) * len(KINDS)]
            groups.setdefault(group, Counter()).update(dict(zip(KINDS, row, strict=True)))

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
        over = following >= end or time.monotonic() - began > seconds
        for worker in workers:
            worker.look(counts)
            if worker.idle and not over:
                portion = range(following, min(following + PORTION, end))
                worker.ask(portion)
                following = portion.stop
                over = following >= end
        counts.groups = _counted(workers)
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(counts, following)
        if over and not any(worker.asked for worker in workers):
            break
        time.sleep(0.02)
    for worker in workers:
        worker.end()
    return counts, following


def _counted(workers: list[Worker]) -> dict[str, Counter[str]]:
    groups: dict[str, Counter[str]] = {}
    for worker in workers:
        worker.count(groups)
    return groups
