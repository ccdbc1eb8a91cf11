"""`python -m anymodal.cli.probe KEY...`: load plugins and print their problems; meant for a child process.

`probed` runs it and survives what a plugin may do: hang, or bring the interpreter down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs

from anymodal.discovery import Candidate, Problem
from anymodal.plugins import registry

TOGETHER = 10.0  # seconds in which all plugins load when none of them hangs


def probed(candidates: Sequence[Candidate], seconds: float) -> list[tuple[Problem, ...]]:
    """The problems of each plugin: all in one child process, or, where that one ends badly, each in its own."""
    try:
        return _reported(candidates, min(seconds, TOGETHER))
    except (subprocess.TimeoutExpired, _EndedBadlyError):
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return list(pool.map(lambda candidate: probe(candidate, seconds), candidates))


def probe(candidate: Candidate, seconds: float) -> tuple[Problem, ...]:
    """The problems of a plugin when a child process loads it alone, which is stopped after that many `seconds`."""
    try:
        (problems,) = _reported([candidate], seconds)
    except subprocess.TimeoutExpired:
        message = f"is not loaded after {seconds:g} seconds"
        return (candidate.problem("load", message, "look for an endless loop, or raise --timeout"),)
    except _EndedBadlyError as ended:
        return (candidate.problem("load", f"the process that loads it {ended}", "look at its native code"),)
    return problems


class _EndedBadlyError(Exception):
    """A child process ended otherwise than by a report; the message says how."""


def _reported(candidates: Sequence[Candidate], seconds: float) -> list[tuple[Problem, ...]]:
    """What a child process says of plugins. Raises TimeoutExpired or _EndedBadlyError."""
    environ = {key: value for key, value in os.environ.items() if key not in ("ANYMODAL_STRICT", "ANYMODAL_TRACE")}
    command = [sys.executable, "-m", "anymodal.cli.probe", *(candidate.key for candidate in candidates)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds)
    try:
        report = json.loads(done.stdout.splitlines()[-1])
        return [tuple(Problem(**facts) for facts in report[candidate.key]) for candidate in candidates]
    except (LookupError, ValueError, TypeError):
        if done.returncode < 0:
            raise _EndedBadlyError(f"dies of {signal.Signals(-done.returncode).name}") from None
        raise _EndedBadlyError(f"exits with {done.returncode}") from None


def main(keys: Sequence[str]) -> None:
    """Print the problems of the plugins with those keys, by key, as the last line of stdout."""
    plugins = registry()
    found = {key: [attrs.asdict(p) for p in plugins.check(plugins.catalog.usable[key])] for key in keys}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
