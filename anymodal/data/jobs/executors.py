"""Executors, who do the jobs of a long piece of work: processes here, a Ray cluster, or the processes of torchrun.

A worker is made once in every process that helps; it turns jobs into results that JSON can hold, and leaves its files
where they belong. Local processes are our own and not a ProcessPoolExecutor: that one (before Python 3.14) ends no job
that runs, so that an error or Ctrl-C would wait for whole shards, and its processes outlive a killed parent.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.content import remove_leftovers
from anymodal.errors import AnymodalError, ConfigError, DataError, PluginError

SECONDS_TO_END = 10  # for a worker without more jobs to clean up after itself

Worker = Callable[[Any], Any]
MakeWorker = Callable[[int], Worker]
Results = Iterator[tuple[Any, Any]]


class Group:
    """The processes that run the same command together: this one alone."""

    leads = True

    def agree(self, decide: Callable[[], Any]) -> Any:
        """What the leader decides, in every process. Raises what it raises."""
        return decide()

    def wait(self) -> None:
        """Wait for the others."""


@attrs.frozen
class Executor(ABC):
    """Who does the jobs. A class derived from it states its `name`, and `description`, one line for people."""

    name: str = attrs.field(init=False)
    description: ClassVar[str] = ""

    def check(self) -> None:  # noqa: B027  # most can be used everywhere
        """Raise ConfigError or PluginError where it cannot be used."""

    @contextmanager
    def group(self) -> Iterator[Group]:
        """The processes of this run."""
        yield Group()

    @abstractmethod
    def results(self, make: MakeWorker, jobs: Sequence[Any], workers: int) -> Results:
        """Jobs with their results, as they come; `make(n)` makes the worker number n. Raises what a worker raised."""


@attrs.frozen
class Local(Executor):
    """Processes of this machine; with one worker, this process itself."""

    name: str = attrs.field(init=False, default="local")
    description: ClassVar[str] = "processes of this machine"

    def results(self, make: MakeWorker, jobs: Sequence[Any], workers: int) -> Results:
        return _here(make(0), jobs) if workers == 1 else _processes(make, jobs, workers)


@attrs.frozen
class Ray(Executor):
    """Ray Data on the cluster of RAY_ADDRESS or `ray start`, or on one started here; all must see the same files."""

    name: str = attrs.field(init=False, default="ray")
    description: ClassVar[str] = "a Ray cluster"

    def check(self) -> None:
        if find_spec("ray") is None:
            raise PluginError("the executor ray needs Ray; pip install 'anymodal[ray]'")

    def results(self, make: MakeWorker, jobs: Sequence[Any], workers: int) -> Results:
        import ray

        if not ray.is_initialized():
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong comes back as an error
            cpus = None if "RAY_ADDRESS" in os.environ else workers
            try:
                ray.init(num_cpus=cpus, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
            except Exception as error:
                raise DataError(f"Ray does not start, or is not where RAY_ADDRESS says: {error}") from error
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # after the line above, which sets up its logs
        numbers = ray.data.from_items([{"job": k} for k in range(len(jobs))], override_num_blocks=len(jobs))
        share = min(1.0, ray.cluster_resources().get("GPU", 0) / workers)  # an actor sees the GPU that is its own
        done = numbers.map(
            _RayWorker,
            fn_constructor_kwargs={"make": make, "jobs": list(jobs)},
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=share or None,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            yield jobs[row["job"]], json.loads(row["result"])


@attrs.frozen
class Torchrun(Executor):
    """The processes that torchrun started, each with its share of the jobs."""

    name: str = attrs.field(init=False, default="torchrun")
    description: ClassVar[str] = "the processes of torchrun"

    def check(self) -> None:
        if "RANK" not in os.environ:
            command = "torchrun --nproc-per-node N -m anymodal ..."
            raise ConfigError(f"the executor torchrun is for processes that torchrun starts: {command}")

    @contextmanager
    def group(self) -> Iterator[Group]:
        from anymodal.nn.distributed import patient_group

        with patient_group() as leads:
            yield TorchrunGroup(leads)

    def results(self, make: MakeWorker, jobs: Sequence[Any], workers: int) -> Results:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        return _here(make(int(os.environ.get("LOCAL_RANK", "0"))), jobs[rank::world])


EXECUTORS = SettingsTable(Executor, "executor")  # type: ignore[type-abstract]
EXECUTORS.add(Local)
EXECUTORS.add(Ray)
EXECUTORS.add(Torchrun)


def find_executor(name: str) -> Executor:
    """The executor of that name. Raises ConfigError for an unknown one, PluginError for one that is not installed."""
    executor = EXECUTORS(name)
    executor.check()
    return executor


def results(executor: Executor, make: MakeWorker, jobs: Sequence[Any], workers: int | None) -> Results:
    """`executor.results` with at most one worker a job, and as many as this machine has room for by default."""
    return executor.results(make, jobs, min(len(jobs), workers or room())) if jobs else iter(())


def _here(worker: Worker, jobs: Sequence[Any]) -> Results:
    for job in jobs:
        yield job, worker(job)


def room() -> int:
    """As many as there are GPUs, or else cores."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return torch.cuda.device_count() or cores or 1


def _processes(make: MakeWorker, jobs: Sequence[Any], workers: int) -> Results:
    """Processes that are handed one job after the other; they end with this one, however it ends."""
    context = get_context("spawn")
    processes: dict[Connection, Any] = {}
    given: dict[Connection, Any] = {}
    ended: list[Any] = []
    todo = iter(jobs)
    try:
        for number in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make, number), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
            ours.send(given.setdefault(ours, next(todo)))
        while processes:
            for pipe in wait(list(processes)):
                assert isinstance(pipe, Connection)
                try:
                    done, result = given.pop(pipe), pipe.recv()
                    if isinstance(result, BaseException):
                        raise result
                    if (job := next(todo, None)) is None:
                        ended.append(processes.pop(pipe))
                        pipe.close()
                    else:
                        pipe.send(given.setdefault(pipe, job))
                except (EOFError, OSError):
                    raise DataError("a worker process died, perhaps for lack of memory; try fewer --workers") from None
                yield done, result
    finally:
        for process in ended:
            process.join(SECONDS_TO_END)
        for process in (*processes.values(), *ended):
            process.terminate()
            process.join()
        if processes:  # whoever is ended at work cannot remove what it keeps in the temporary folder
            remove_leftovers()


def _serve(pipe: Connection, make: MakeWorker, number: int) -> None:
    """The life of a worker process: until it is ended, or the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    os.environ["OMP_NUM_THREADS"] = "1"  # one core each
    os.environ["ANYMODAL_PROGRESS"] = "quiet"  # the first process speaks for all
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    try:
        worker = make(number)
        while True:
            pipe.send(worker(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except AnymodalError as error:
        pipe.send(error)
    except Exception as error:
        pipe.send(RuntimeError(f"{type(error).__name__} in a worker process: {error}"))


class _RayWorker:
    def __init__(self, make: MakeWorker, jobs: Sequence[Any]) -> None:
        self.make, self.jobs = make, jobs

    @cached_property
    def worker(self) -> Worker:
        os.environ["ANYMODAL_PROGRESS"] = "quiet"
        return self.make(0)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {**row, "result": json.dumps(self.worker(self.jobs[row["job"]])), "error": ""}
        except AnymodalError as error:
            return {**row, "result": "", "error": str(error)}


class TorchrunGroup(Group):
    """The processes of torchrun."""

    def __init__(self, leads: bool) -> None:
        self.leads = leads

    def agree(self, decide: Callable[[], Any]) -> Any:
        from anymodal.nn.distributed import first_object

        error, decided = None, None
        if self.leads:
            try:
                decided = decide()
            except AnymodalError as found:
                error = found
        with _together():
            error, decided = first_object((error, decided))
        if error is not None:
            raise error
        return decided

    def wait(self) -> None:
        from anymodal.nn.distributed import meet

        with _together():
            meet()


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise DataError(f"another process of this run stopped; its message says why ({error:.80})") from None
