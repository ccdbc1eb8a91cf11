"""Making a dataset shard by shard: resumable, idempotent, and whole files only.

A job is what is to be made of one shard. What it makes is a function of the data and the settings alone, so that it
does not matter who does it, when, and how often. `anymodal.data.jobs.manifest` keeps the books.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs

from anymodal.data.jobs import executors as engines
from anymodal.data.jobs.manifest import Ledger, Plan, Problem, locked, write_receipt
from anymodal.data.report import too_many
from anymodal.errors import AnymodalError, ConfigError, DataError


@attrs.frozen
class Job:
    """The parts of a shard that are to be made."""

    shard: int
    samples: int
    parts: tuple[str, ...]


@attrs.frozen
class Summary:
    """How a run ended: samples and shards of the dataset, jobs done by this run, values left out."""

    samples: int
    shards: int
    jobs: int
    problems: int


Advance = Callable[[int], None]
Progress = Callable[[int, str], AbstractContextManager[Advance]]
Make = Callable[[Job], Iterator[tuple[str, list[Problem]]]]


@contextmanager
def no_progress(total: int, what: str) -> Iterator[Advance]:
    yield lambda steps: None


class Work(Protocol):
    """What there is to do, as it travels to other processes."""

    @property
    def out(self) -> Path: ...

    def outputs(self, shard: int, part: str) -> Mapping[str, Sequence[Path]]:
        """The files of a part of a shard by name."""
        ...

    def open(self, device: str | None) -> Make:
        """Load what is needed on a device; the value does a job and yields the parts that are finished."""
        ...


class Worker:
    """Does jobs: makes their parts and writes the receipts."""

    def __init__(self, work: Work, device: str | None) -> None:
        self.work, self.make = work, work.open(device)

    def __call__(self, job: Job) -> list[dict[str, str]]:
        """What was left out, as JSON can hold it."""
        problems: list[Problem] = []
        for part, found in self.make(job):
            write_receipt(self.work.out, self.work.outputs, job.shard, part, found)
            problems += found
        return [attrs.asdict(problem) for problem in problems]


def make_worker(work: Work, number: int) -> Worker:
    """A worker on a GPU of its own, if there are any."""
    import torch

    gpus = torch.cuda.device_count()
    return Worker(work, f"cuda:{number % gpus}" if gpus else None)


class BadShare:
    """Counts samples with problems. Raises DataError when there are more than the share `most`."""

    def __init__(self, most: float, out: Path) -> None:
        if not 0 <= most <= 1:
            raise ConfigError(f"--max-bad must be a share between 0 and 1, got {most}")
        self.most, self.out = most, out
        self.seen, self.bad, self.first = 0, 0, ""

    def add(self, samples: int, problems: Sequence[Problem]) -> None:
        self.seen += samples
        self.bad += len({p.sample for p in problems})
        if problems and not self.first:
            self.first = f"{problems[0].sample}: {problems[0].problem}"
        if too_many(self.bad, self.seen, self.most):
            raise self._error()

    def finish(self, samples: int, problems: Sequence[Problem]) -> None:
        """Count anew, over the whole dataset, however small it is."""
        self.seen = self.bad = 0
        self.add(samples, problems)
        if self.bad > self.most * samples:
            raise self._error()

    def _error(self) -> DataError:
        return DataError(
            f"{self.bad} of {self.seen} samples have problems, more than --max-bad {self.most:g} allows"
            f" ({self.first}); all are in {self.out / 'problems.jsonl'}"
        )


def make_dataset(
    work: Work,
    plan: Callable[[], Plan],
    extra: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    engine: str,
    workers: int | None,
    max_bad: float,
    progress: Progress,
    what: str,
) -> Summary | None:
    """Make what is missing of a dataset in `work.out`; None in a process that does not lead.

    `plan` is asked for once, `extra` adds to the manifest in the end. Raises DataError if the dataset was made
    otherwise, if another run is at work, if the disk is full, or if too many samples are bad; what is finished stays.
    """
    engines.check(engine)
    out, bad = work.out, BadShare(max_bad, work.out)
    with engines.crew(engine) as crew, locked(out) if crew.leads else nullcontext():
        books: list[Ledger] = []

        def decide() -> tuple[list[Job], int, int]:
            ledger = Ledger(out, plan(), work.outputs)
            books.append(ledger)
            jobs = [Job(k, ledger.plan.counts[k], tuple(parts)) for k, parts in ledger.missing().items()]
            if jobs or not ledger.is_complete:
                ledger.begin()
            return jobs, sum(ledger.plan.counts), len(ledger.plan.counts)

        jobs, samples, shards = crew.agree(decide)
        finished = shards - len(jobs)
        try:
            with progress(samples, what) as advance:
                advance(samples - sum(job.samples for job in jobs))
                for job, problems in engines.results(engine, partial(make_worker, work), jobs, workers):
                    finished += 1
                    advance(job.samples)
                    bad.add(job.samples, [Problem(**each) for each in problems])
            crew.wait()
            if not crew.leads:
                return None
            (ledger,) = books
            if jobs or not ledger.is_complete:
                bad.finish(samples, ledger.write_problems())
                ledger.finish(extra)
        except AnymodalError as error:
            for ledger in books:
                with suppress(AnymodalError):  # on a full disk
                    ledger.write_problems()
            rest = f"{finished} of {shards} shards are finished and stay; the same command goes on from there"
            raise type(error)(f"{error}. {rest}") from error
    return Summary(samples, shards, len(jobs), ledger.manifest["problems"])
