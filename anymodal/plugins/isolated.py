"""`python -m anymodal.plugins.isolated KEY...`: load plugins and print their problems; meant for a child process.

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

from anymodal.plugins.discovery import Candidate, Problem
from anymodal.plugins.registry import Registry, registry

TOGETHER = 10.0  # seconds in which all plugins load when none of them hangs


@attrs.frozen
class Finding:
    """What loading a plugin shows: its problems and, of a preset, where its checkpoint is."""

    problems: tuple[Problem, ...]
    place: str = ""


def probed(candidates: Sequence[Candidate], seconds: float) -> list[Finding]:
    """What loading each plugin shows: all in one child process, or, where that one ends badly, each in its own."""
    try:
        return _reported(candidates, min(seconds, TOGETHER))
    except (subprocess.TimeoutExpired, _EndedBadlyError):
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return list(pool.map(lambda candidate: probe(candidate, seconds), candidates))


def probe(candidate: Candidate, seconds: float) -> Finding:
    """What a child process shows that loads one plugin alone, and is stopped after that many `seconds`."""
    try:
        (finding,) = _reported([candidate], seconds)
    except subprocess.TimeoutExpired:
        message = f"is not loaded after {seconds:g} seconds"
        return Finding((candidate.problem("load", message, "look for an endless loop, or raise --timeout"),))
    except _EndedBadlyError as ended:
        hint = "look at its native code, and at what it does at import and at exit"
        return Finding((candidate.problem("load", f"the process that loads it {ended}", hint),))
    return finding


class _EndedBadlyError(Exception):
    """A child process ended otherwise than by a report; the message says how."""


def _reported(candidates: Sequence[Candidate], seconds: float) -> list[Finding]:
    """What a child process says of plugins. Raises TimeoutExpired or _EndedBadlyError."""
    environ = {key: value for key, value in os.environ.items() if key not in ("ANYMODAL_STRICT", "ANYMODAL_TRACE")}
    command = [sys.executable, "-m", "anymodal.plugins.isolated", *(candidate.key for candidate in candidates)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds)
    try:
        report = json.loads(done.stdout.splitlines()[-1])
        found = [report[candidate.key] for candidate in candidates]
        return [Finding(tuple(Problem(**facts) for facts in each["problems"]), each["place"]) for each in found]
    except (LookupError, ValueError, TypeError):
        if done.returncode < 0:
            raise _EndedBadlyError(f"dies of {signal.Signals(-done.returncode).name}") from None
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise _EndedBadlyError(f"exits with {done.returncode}, {last:.200}") from None


def main(keys: Sequence[str]) -> None:
    """Print what the plugins with those keys show, by key, as the last line of stdout."""
    found = {key: attrs.asdict(_found(registry(), key)) for key in keys}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def _found(plugins: Registry, key: str) -> Finding:
    candidate = plugins.catalog.usable[key]
    problems, place = plugins.check(candidate), ""
    if candidate.kind == "preset" and not any(problem.fatal for problem in problems):
        place = plugins.preset(f"{candidate.distribution}:{candidate.provides}")
    return Finding(problems, place)


if __name__ == "__main__":
    main(sys.argv[1:])
