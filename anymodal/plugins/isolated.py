"""Work in a process of its own, which may hang or bring the interpreter down, and loading plugins in such a one.

`ask` runs `python -m MODULE`, which reads a request from stdin and answers by `answer` in the last line of stdout.
`python -m anymodal.plugins.isolated` is one such module: it loads plugins and says what is wrong with them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from anymodal.plugins.discovery import Candidate, Problem
from anymodal.plugins.registry import registry

KEY = "anymodal"  # under which the answer stands in the last line
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
    except (subprocess.TimeoutExpired, EndedBadlyError):
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return list(pool.map(lambda candidate: probe(candidate, seconds), candidates))


def probe(candidate: Candidate, seconds: float) -> Finding:
    """What a child process shows that loads one plugin alone, and is stopped after that many `seconds`."""
    try:
        (finding,) = _reported([candidate], seconds)
    except subprocess.TimeoutExpired:
        message = f"is not loaded after {seconds:g} seconds"
        return Finding((candidate.problem("load", message, "look for an endless loop, or raise --timeout"),))
    except EndedBadlyError as ended:
        hint = "look at its native code, and at what it does at import and at exit"
        return Finding((candidate.problem("load", f"the process that loads it {ended}", hint),))
    return finding


class EndedBadlyError(Exception):
    """A child process ended otherwise than by an answer; the message says how."""


def ask(
    module: str, request: object, *, seconds: float, environ: Mapping[str, str], folder: Path | None = None
) -> dict[str, Any]:
    """The answer of a child process that runs `python -m module` in a folder (default: the current one).

    Raises subprocess.TimeoutExpired after that many seconds, and EndedBadlyError.
    """
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(request),
        cwd=folder,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    try:
        return dict(json.loads(done.stdout.splitlines()[-1])[KEY])
    except (LookupError, ValueError, TypeError):
        if done.returncode < 0:
            raise EndedBadlyError(f"dies of {signal.Signals(-done.returncode).name}") from None
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EndedBadlyError(f"exits with {done.returncode}, {last:.200}") from None


def answer(work: Callable[[Any], Mapping[str, Any]]) -> None:
    """In the child: do the work that is asked for, and print what it gives as the last line of stdout."""
    given = work(json.loads(sys.stdin.read()))
    sys.stdout.write("\n" + json.dumps({KEY: given}) + "\n")


def _reported(candidates: Sequence[Candidate], seconds: float) -> list[Finding]:
    """What a child process says of plugins. Raises TimeoutExpired or EndedBadlyError."""
    environ = {key: value for key, value in os.environ.items() if key not in ("ANYMODAL_STRICT", "ANYMODAL_TRACE")}
    keys = [candidate.key for candidate in candidates]
    report = ask("anymodal.plugins.isolated", keys, seconds=seconds, environ=environ)
    found = [report[key] for key in keys]
    return [Finding(tuple(Problem(**facts) for facts in each["problems"]), each["place"]) for each in found]


def load(keys: Sequence[str]) -> dict[str, Any]:
    """In the child: what loading the plugins with those keys shows, by key."""
    return {key: attrs.asdict(_found(key)) for key in keys}


def _found(key: str) -> Finding:
    plugins = registry()
    candidate = plugins.catalog.usable[key]
    problems, place = plugins.check(candidate), ""
    if candidate.kind == "preset" and not any(problem.fatal for problem in problems):
        place = plugins.preset(f"{candidate.distribution}:{candidate.provides}").folder
    return Finding(problems, place)


if __name__ == "__main__":
    answer(load)
