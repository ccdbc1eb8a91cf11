"""Bounds of time, which neither the load of a machine nor a slower one breaks."""

from __future__ import annotations

import os
import time
from functools import cache

LOOPS, SECONDS = 1_000_000, 0.08  # what the loop takes on the machine on which bounds are set, when it is idle


@cache
def slowness() -> float:
    """How many times longer a fixed loop takes here than where bounds are set; at least 1."""

    def seconds() -> float:
        start, total = time.process_time(), 0
        for number in range(LOOPS):
            total += number * number % 7
        return time.process_time() - start

    return max(1.0, min(seconds() for _ in range(3)) / SECONDS)


def patience(seconds: float) -> float:
    """How long to wait for another process before it counts as stuck: longer on a slow machine, and on a busy one."""
    return seconds * slowness() * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
