"""Who does the jobs of a long piece of work: processes of this machine, a Ray cluster, or the processes of torchrun.

A worker is made once in every process that helps; it turns jobs into results that JSON can hold, and leaves its files
where they belong.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from anymodal.errors import AnymodalError, ConfigError, DataError, PluginError, nearest

ENGINES = ("local", "ray", "torchrun")
MakeWorker = Callable[[int], Callable[[Any], Any]]


def check(engine: str) -> None:
    """Raise ConfigError for an unknown engine, PluginError for one that is not installed."""
    if engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}{nearest(engine, ENGINES)}; there are: {', '.join(ENGINES)}")
    if engine == "ray" and find_spec("ray") is None:
        raise PluginError("the engine ray needs Ray; pip install 'anymodal[ray]'")
    if engine == "torchrun" and "RANK" not in os.environ:
        command = "torchrun --nproc-per-node N -m anymodal.cli ..."
        raise ConfigError(f"the engine torchrun is for processes that torchrun starts: {command}")


def results(engine: str, make: MakeWorker, jobs: Sequence[Any], workers: int | None) -> Iterator[tuple[Any, Any]]:
    """Jobs with their results, as they come; `make(n)` makes the worker number n. Raises what a worker raised."""
    if not jobs:
        return iter(())
    workers = min(len(jobs), workers or _helpers())
    if engine == "ray":
        return _ray(make, jobs, workers)
    if engine == "torchrun":
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        worker = make(int(os.environ.get("LOCAL_RANK", "0")))
        return _here(worker, jobs[rank::world])
    return _here(make(0), jobs) if workers == 1 else _processes(make, jobs, workers)


def _here(worker: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    for job in jobs:
        yield job, worker(job)


def _helpers() -> int:
    """As many as there are GPUs, or else cores."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return torch.cuda.device_count() or cores or 1


def _processes(make: MakeWorker, jobs: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Processes that are handed one job after the other; they end with this one, however it ends."""
    context = get_context("spawn")
    hands: dict[Connection, Any] = {}
    given: dict[Connection, Any] = {}
    todo = iter(jobs)
    try:
        for number in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make, number), daemon=True)
            process.start()
            theirs.close()
            hands[ours] = process
            ours.send(given.setdefault(ours, next(todo)))
        while hands:
            for hand in wait(list(hands)):
                assert isinstance(hand, Connection)
                try:
                    done, result = given.pop(hand), hand.recv()
                    if isinstance(result, BaseException):
                        raise result
                    if (job := next(todo, None)) is None:
                        hands.pop(hand).terminate()
                    else:
                        hand.send(given.setdefault(hand, job))
                except (EOFError, OSError):
                    raise DataError("a worker process died, perhaps for lack of memory; try fewer --workers") from None
                yield done, result
    finally:
        for process in hands.values():
            process.terminate()
            process.join()


def _serve(hand: Connection, make: MakeWorker, number: int) -> None:
    """The life of a worker process: until it is ended, or the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    os.environ["OMP_NUM_THREADS"] = "1"  # one core each
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    try:
        worker = make(number)
        while True:
            hand.send(worker(hand.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except AnymodalError as error:
        hand.send(error)
    except Exception as error:
        hand.send(RuntimeError(f"{type(error).__name__} in a worker process: {error}"))


def _ray(make: MakeWorker, jobs: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Ray Data on the cluster of RAY_ADDRESS or `ray start`, or on one started here; all must see the same files."""
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
    arguments = {"make": make, "jobs": list(jobs)}
    share = min(1.0, ray.cluster_resources().get("GPU", 0) / workers)  # an actor sees the GPU that is its own
    done = numbers.map(
        _RayWorker,
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=share or None,
    )
    for row in done.iter_rows():
        if row["error"]:
            raise DataError(row["error"])
        yield jobs[row["job"]], json.loads(row["result"])


class _RayWorker:
    def __init__(self, make: MakeWorker, jobs: Sequence[Any]) -> None:
        self.make, self.jobs = make, jobs

    @cached_property
    def worker(self) -> Callable[[Any], Any]:
        return self.make(0)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {**row, "result": json.dumps(self.worker(self.jobs[row["job"]])), "error": ""}
        except AnymodalError as error:
            return {**row, "result": "", "error": str(error)}


class Crew:
    """The processes that run the same command together: one, unless torchrun started several."""

    leads = True

    def agree(self, decide: Callable[[], Any]) -> Any:
        """What the leader decides, in every process. Raises what it raises."""
        return decide()

    def wait(self) -> None:
        """Wait for the others."""


class TorchrunCrew(Crew):
    """The processes of torchrun; the first one leads."""

    def __init__(self) -> None:
        from torch import distributed

        self.distributed = distributed
        distributed.init_process_group("gloo", timeout=timedelta(days=99))  # jobs may be long
        self.leads = distributed.get_rank() == 0

    def agree(self, decide: Callable[[], Any]) -> Any:
        parcel: list[Any] = [None, None]
        if self.leads:
            try:
                parcel[1] = decide()
            except AnymodalError as error:
                parcel[0] = error
        with self._together():
            self.distributed.broadcast_object_list(parcel, 0)
        if parcel[0] is not None:
            raise parcel[0]
        return parcel[1]

    def wait(self) -> None:
        with self._together():
            self.distributed.barrier()

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise DataError(f"another process of this run stopped; its message says why ({error:.80})") from None


@contextmanager
def crew(engine: str) -> Iterator[Crew]:
    """The processes of this run."""
    if engine != "torchrun":
        yield Crew()
        return
    together = TorchrunCrew()
    try:
        yield together
    finally:
        together.distributed.destroy_process_group()
