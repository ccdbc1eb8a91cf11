"""Workers that other processes can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

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
