"""`python -m anymodal.cli.probe KEY`: load one plugin and print its problems; meant for a child process.

`probe` runs it and survives what the plugin may do: hang, or bring the interpreter down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import attrs

from anymodal.discovery import Candidate, Problem
from anymodal.plugins import registry


def probe(candidate: Candidate, seconds: float) -> tuple[Problem, ...]:
    """The problems of a plugin when a child process loads it, which is stopped after that many `seconds`."""
    environ = {key: value for key, value in os.environ.items() if key not in ("ANYMODAL_STRICT", "ANYMODAL_TRACE")}
    command = [sys.executable, "-m", "anymodal.cli.probe", candidate.key]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        message = f"is not loaded after {seconds:g} seconds"
        return (candidate.problem("load", message, "look for an endless loop, or raise --timeout"),)
    try:
        return tuple(Problem(**facts) for facts in json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        ended = f"exits with {done.returncode}"
        if done.returncode < 0:
            ended = f"dies of {signal.Signals(-done.returncode).name}"
        return (candidate.problem("load", f"the process that loads it {ended}", "look at its native code"),)


def main(key: str) -> None:
    """Print the problems of the plugin with that key as the last line of stdout."""
    problems = registry().check(registry().catalog.usable[key])
    sys.stdout.write("\n" + json.dumps([attrs.asdict(problem) for problem in problems]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
