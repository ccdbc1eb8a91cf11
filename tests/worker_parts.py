"""Workers that other processes can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from anymodal.content import file_in_memory
from anymodal.errors import DataError


def doubles(number: int) -> Callable[[int], int]:
    return lambda job: 2 * job


def dies(number: int) -> Callable[[int], int]:
    return lambda job: os.kill(os.getpid(), signal.SIGKILL) if job == 2 else job  # type: ignore[return-value]


def raises(number: int) -> Callable[[int], float]:
    def work(job: int) -> float:
        if job == 3:
            raise DataError("job 3 has a problem")
        return 1 / (job + 1)

    return work


def reads(number: int) -> Callable[[int], str]:
    """Reads each job from a file of a moment."""

    def work(job: int) -> str:
        with file_in_memory(str(job).encode(), ".txt") as path:
            return path.read_text()

    return work
