"""Making a dataset shard by shard: resumable, idempotent, and whole files only.

A job is what is to be made of one shard. What it makes is a function of the data and the settings alone, so that it
does not matter who does it, when, and how often. `anymodal.data.jobs.manifest` knows what is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs

from anymodal.config.validators import integer
from anymodal.data.files.layout import FileLayout, usable
from anymodal.data.files.open import FILE_LAYOUTS
from anymodal.data.jobs.executors import find_executor, results
from anymodal.data.jobs.inputs import Inputs, states
from anymodal.data.jobs.manifest import Manifest, Plan, locked
from anymodal.data.jobs.problems import BadShare, Problem
from anymodal.data.jobs.receipts import write_record
from anymodal.errors import AnymodalError, ConfigError
from anymodal.progress import task


@attrs.frozen
class Job:
    """The parts of a shard that are to be made."""

    shard: int
    samples: int
    parts: tuple[str, ...]


@attrs.frozen
class Summary:
    """How a run ended: samples and shards of the dataset, jobs done by this run, values left out.

    `changed` of the jobs were done again because files of the data had changed.
    """

    samples: int
    shards: int
    jobs: int
    problems: int
    changed: int = 0


class Make(Protocol):
    """What does the jobs of a piece of work."""

    def inputs(self, shard: int) -> Mapping[str, Inputs]:
        """The files of the data that a shard is made from."""
        ...

    def __call__(self, job: Job) -> Iterator[tuple[str, list[Problem]]]:
        """The parts that are finished one after the other, each with what was left out."""
        ...


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
    """Does jobs: makes their parts and writes their completion records."""

    def __init__(self, work: Work, device: str | None) -> None:
        self.work, self.make = work, work.open(device)

    def __call__(self, job: Job) -> list[dict[str, str]]:
        """What was left out, as JSON can hold it."""
        problems: list[Problem] = []
        inputs = states(self.make.inputs(job.shard))  # before they are read: what changes meanwhile is noticed later
        for part, found in self.make(job):
            if found:  # such as of a file that is missing for a while, and comes back as it was
                now = self.make.inputs(job.shard)
                inputs = {name: each.known_after(inputs[name]) for name, each in now.items()}
            write_record(self.work.out, self.work.outputs, job.shard, part, found, inputs)
            problems += found
        return [attrs.asdict(problem) for problem in problems]


def make_worker(work: Work, layouts: Sequence[type[FileLayout]], number: int) -> Worker:
    """A worker on a GPU of its own, if there are any; it knows the layouts of files that the first process knows."""
    import torch

    for layout in layouts:
        FILE_LAYOUTS.add(layout)
    gpus = torch.cuda.device_count()
    return Worker(work, f"cuda:{number % gpus}" if gpus else None)


log = logging.getLogger("anymodal")
STAYS = "{finished} of {shards} shards are finished and stay; the same command goes on from there"


def _begin(work: Work, plan: Plan, manifests: list[Manifest]) -> tuple[list[Job], int, int]:
    """What is to be done, and how many samples and shards the dataset has; its manifest, begun, goes to `manifests`."""
    for each in plan.passed_over:
        log.warning("%s of %s: %s: %d, such as %s", each.part, plan.data, each.kind, each.count, each.examples[0])
    manifest = Manifest(work.out, plan, work.outputs)
    manifests.append(manifest)
    jobs = [Job(k, plan.counts[k], tuple(parts)) for k, parts in manifest.missing().items()]
    if jobs or not manifest.is_complete:
        manifest.begin()
    return jobs, sum(plan.counts), len(plan.counts)


def make_dataset(
    work: Work,
    plan: Callable[[], Plan],
    *,
    extra: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
    executor: str,
    workers: int | None,
    max_bad: float,
    what: str,
) -> Summary | None:
    """Make what is missing of a dataset in `work.out`.

    Args:
        work: what there is to do, and where.
        plan: asked for once, by the process that leads.
        extra: what the manifest says beside or instead, made from the manifest in the end.
        executor: who does the jobs, by its name in the table `EXECUTORS`.
        workers: how many processes; None for as many as there are GPUs, or else cores.
        max_bad: the share of samples, in [0, 1], that may have problems.
        what: the name of the work, for people.

    Returns:
        How the run ended; None in a process that does not lead.

    Raises:
        DataError: the dataset was made with other settings, another run is at work, the disk is full, or too many
            samples are bad; what is finished stays.
        ConfigError: the executor is unknown or not usable here, `max_bad` is no share, or `workers` no number.
    """
    chosen = find_executor(executor)
    if workers is not None and (workers := integer(workers)) < 0:
        raise ConfigError(f"workers is a number of processes, got {workers}")
    make = partial(make_worker, work, [type(layout) for layout in reversed(list(usable(FILE_LAYOUTS)))])
    out, bad = work.out, BadShare(max_bad, work.out)
    with chosen.group() as group, locked(out) if group.leads else nullcontext():
        manifests: list[Manifest] = []
        jobs, samples, shards = group.agree(lambda: _begin(work, plan(), manifests))
        finished = shards - len(jobs)
        try:
            with task(what, samples, samples - sum(job.samples for job in jobs)) as now:
                for job, problems in results(chosen, make, jobs, workers):
                    finished += 1
                    now.advance(job.samples)
                    bad.add(job.samples, [Problem(**each) for each in problems])
            group.wait()
            if not group.leads:
                return None
            finished = shards  # also by the other processes
            (manifest,) = manifests
            if jobs or not manifest.is_complete:
                bad.finish(samples, manifest.write_problems())
                manifest.finish(extra)
            else:
                manifest.keep_times()
        except AnymodalError as error:
            for manifest in manifests:
                with suppress(AnymodalError):  # on a full disk
                    manifest.write_problems()
            raise type(error)(f"{error}. {STAYS.format(finished=finished, shards=shards)}") from error
    return Summary(samples, shards, len(jobs), manifest.known["problems"], len(manifest.changed))
