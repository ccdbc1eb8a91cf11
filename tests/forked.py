"""Commands in processes of their own that need no imports: a server forks them, which has imported PyTorch before.

To import all that training needs takes six seconds of a processor, most of what a short run takes.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

from small_runs import ALONE

from anymodal.cli.main import main
from anymodal.training.log import TrainingLog

if TYPE_CHECKING:
    from torch.distributed import TCPStore

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "anymodal.cli.train", "anymodal.training.multimodal.run", "anymodal.data.batches", "tabulate"]
)


def run_source(source: str, given: str, folder: Path, environ: dict[str, str]) -> tuple[int | None, str]:
    """Run Python source as `python -c` does, with `given` as standard input, in a folder, with an environment.

    Returns the exit code and what was written. Of `environ` what Python reads when it starts has no effect, but for
    PYTHONPATH.
    """
    handle, name = tempfile.mkstemp(prefix="forked-")
    os.close(handle)
    _start_server()
    process = CONTEXT.Process(target=_run_source, args=(source, given, str(folder), environ, name))
    process.start()
    process.join()
    written = Path(name).read_text()
    Path(name).unlink()
    return process.exitcode, written


def _run_source(source: str, given: str, folder: str, environ: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environ)
    _write_to(log)
    os.chdir(folder)
    sys.path[:0] = ["", *(path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    sys.argv, sys.stdin = ["-c"], io.StringIO(given)
    exec(compile(source, "<string>", "exec"), {"__name__": "__main__"})


class Forked:
    """A command of `anymodal`, with what `subprocess.Popen` has of it; as one process, or several as of torchrun.

    `file_size` is the most bytes of a file that it can write. After a `last` step is logged it stands still until it is
    ended, however long that takes.
    """

    def __init__(
        self, *words: object, processes: int = 1, file_size: int | None = None, last: int | None = None
    ) -> None:
        handle, name = tempfile.mkstemp(prefix="forked-")
        os.close(handle)
        self.log = Path(name)
        _start_server()
        self._store = _store() if processes > 1 else None  # as that of torchrun, for as long as they are at work
        self.processes = [
            CONTEXT.Process(target=_run, args=([str(word) for word in words], name, environ, file_size, last))
            for environ in (_environ(rank, processes, self._store) for rank in range(processes))
        ]
        for process in self.processes:
            process.start()

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """The exit code of the first process that failed, else 0; None while one is at work."""
        codes = [process.exitcode for process in self.processes]
        return next((code for code in codes if code), None if None in codes else 0)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def terminate(self) -> None:
        for process in self.processes:
            process.terminate()
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """All that was written, when the last process is at its end."""
        end = time.monotonic() + timeout
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                self.kill()
                raise TimeoutError(self.log.read_text())
        written = self.log.read_text()
        return written, None


def _start_server() -> None:
    before = dict(os.environ)
    os.environ.update(ALONE)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _store() -> TCPStore:
    """Where processes find each other, at a port that nobody else can take meanwhile."""
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _environ(rank: int, processes: int, store: TCPStore | None) -> dict[str, str]:
    if store is None:
        return {}
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    elastic = {"TORCHELASTIC_RUN_ID": "forked", "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port}
    return {name: str(value) for name, value in (ranks | elastic | place).items()}


def _run(words: list[str], log: str, environ: dict[str, str], file_size: int | None, last: int | None) -> None:
    """What a process does."""
    os.environ.update(environ)
    _write_to(log)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if last is not None:
        _stand_still_after(last)
    main(words)


def _stand_still_after(last: int) -> None:
    write = TrainingLog.write

    def written(log: TrainingLog, *metrics: object) -> None:
        write(log, *metrics)
        if log.step == last:
            os.kill(os.getpid(), signal.SIGSTOP)

    TrainingLog.write = written


def _write_to(log: str) -> None:
    """Let standard output and standard error be a file."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
