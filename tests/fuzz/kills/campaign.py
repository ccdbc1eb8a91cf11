"""Interruptions by their numbers, what comes of them, and the counts."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch

import anymodal as am
from anymodal.errors import AnymodalError, one_line
from fuzz.kills.commands import Job, jobs, parameters, start
from fuzz.kills.kinds import GOES_ON, KINDS, Interrupted, Setting, Usual, kinds_for
from fuzz.kills.moments import Moments
from fuzz.subjects import digest
from fuzz.subjects.base import scratch

TIMES = re.compile(rb"(?<=\")[0-9a-f]{32} (?=[0-9a-f]{32}\")")  # before the digest of contents
IGNORED = (".lock", "log.jsonl", "events.out")  # names, or how they begin, of files that hold times


@attrs.frozen
class Unharmed:
    """What a run is like that nobody interrupts: its measures, its files, and the models it may leave."""

    usual: Usual
    files: dict[str, str]
    models: frozenset[str] = frozenset()


class Campaign:
    """Interrupts commands, each of them as often, in every way that can happen to it."""

    def __init__(self, seed: int) -> None:
        torch.set_num_threads(1)
        self.seed, self.folder = seed, Path(scratch(), "kills")
        self.place = self.folder / "place"  # what a full disk is put over
        self.place.mkdir(parents=True)
        self.jobs = jobs(self.folder)
        self._known: dict[str, Unharmed] = {}

    def interrupt(self, number: int) -> tuple[str, str, str, bool, str]:
        """The command, the kind, the outcome, whether it came too late, and what is to be said of it."""
        rng = random.Random(f"{self.seed} {number}")
        job = self.jobs[number % len(self.jobs)]
        kind = kinds_for(job)[number // len(self.jobs) % len(kinds_for(job))]
        unharmed = self._unharmed(job)
        out, notes = self._start_folder(job), self.folder / "notes"
        notes.mkdir()
        (notes / "log.txt").touch()  # a run may be killed before it says anything
        try:
            found = KINDS[kind](Setting(job, unharmed.usual, out, notes, rng))
            outcome, said = self._judged(job, kind, found, out, notes, unharmed)
            return job.name, kind, outcome, found.late, f"number {number}, {kind} {found.said}: {said}" if said else ""
        finally:
            shutil.rmtree(notes)
            shutil.rmtree(out, ignore_errors=True)

    def _judged(
        self, job: Job, kind: str, found: Interrupted, out: Path, notes: Path, wanted: Unharmed
    ) -> tuple[str, str]:
        """What is left: the same after another run, one clean error, or a fault and what it was."""
        log = notes / "log.txt"
        said = log.read_text(errors="replace").strip()
        if kind in GOES_ON and (not set(found.codes) <= {0, 2} or "Traceback" in said):
            return "faults", f"it ends with {found.codes}: {said[-600:]}"
        if kind == "two writers" and 0 not in found.codes:
            return "faults", f"neither of the two goes on: {said[-600:]}"
        if job.before is not None:
            try:
                model = loaded(out)
            except AnymodalError as error:
                return "faults", f"no model is left: {one_line(error, 300)}"
            if model not in wanted.models:
                return "faults", "the model is neither the old one nor a new one"
        told = "cannot be used" in said or any(path.stat().st_size for path in out.rglob("problems.jsonl"))
        replaced = kind == "vanished file" and job.replaces and told
        again = start(job, out, notes / "again.txt", again=True)
        code = again.finish()
        if code == 2 and "Traceback" not in again.said:
            return "clean error", again.said[-300:]
        if code != 0:
            return "faults", f"exit code {code} of the next run: {again.said[-600:]}"
        outcome, names = compared(contents(out / job.result), wanted.files)
        return ("another sample", "") if outcome == "faults" and replaced else (outcome, names)

    def _start_folder(self, job: Job) -> Path:
        out = self.place / job.name  # always the same: the card of a model names its folder
        shutil.rmtree(self.place)
        self.place.mkdir()
        if job.before is not None:
            shutil.copytree(job.before, out)
        return out

    def _unharmed(self, job: Job) -> Unharmed:
        """What a run leaves that nobody interrupts. Raises RuntimeError if it fails."""
        if job.name in self._known:
            return self._known[job.name]
        models: set[str] = set()
        if job.before is not None:
            out = self._start_folder(job)
            models.add(loaded(out))
            start(job, out, self.folder / "whole.txt", writer=1).finish()
            models.add(loaded(out))
        out, counted = self._start_folder(job), self.folder / "counted"

        def count() -> Callable[[], None]:
            moments = Moments(out, job.inputs)
            moments.watch()

            def write() -> None:
                counted.write_text(f"{moments.changes} {moments.reads}")

            return write

        began = time.monotonic()
        run = start(job, out, self.folder / "whole.txt", prepare=count)
        if code := run.finish():
            raise RuntimeError(f"{job.name} ends with {code}: {run.said[-800:]}")
        seconds = time.monotonic() - began
        changes, reads = map(int, counted.read_text().split())
        sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
        usual = Usual(seconds, changes, reads, sum(-(-size // 4096) * 4096 for size in sizes), max(sizes))
        if job.before is not None:
            models.add(loaded(out))
        self._known[job.name] = Unharmed(usual, contents(out / job.result), frozenset(models))
        return self._known[job.name]


def loaded(folder: Path) -> str:
    """What a saved model is, in one word."""
    return digest([each.detach() for each in parameters(am.load(folder))])


def contents(folder: Path) -> dict[str, str]:
    """The hash of every file that is the same in every run, without what manifests keep of times of inputs."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(IGNORED))
    timeless = {path: _ordered(path, TIMES.sub(b"", path.read_bytes())) for path in found}
    return {str(path.relative_to(folder)): hashlib.sha256(data).hexdigest() for path, data in timeless.items()}


def _ordered(path: Path, data: bytes) -> bytes:
    """The content of a file; of JSON without the order of keys, which says nothing."""
    return json.dumps(json.loads(data), sort_keys=True).encode() if path.suffix == ".json" else data


def compared(found: dict[str, str], wanted: dict[str, str]) -> tuple[str, str]:
    """Whether files are those of a run that nobody interrupted, or are so beside hidden ones that nobody reads."""
    if found == wanted:
        return "same result", ""
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if all(any(part.startswith(".") for part in Path(name).parts) for name in names):
        return "files left", ", ".join(names[:5])
    return "faults", f"other files than without an interruption: {', '.join(names[:5])}"


def run(
    known: dict[str, Any], count: int, seconds: float, seed: int, keep: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    """Go on with the interruptions of a seed, at most `count` and for about so many seconds.

    `known` are the results of earlier ones, which are added to; `keep` gets them after each.
    """
    if known.get("seed") != seed:
        known = {"seed": seed, "next": 0, "commands": {}, "kinds": {}, "details": []}
    began, campaign = time.monotonic(), Campaign(seed)
    for number in range(known["next"], known["next"] + count):
        if time.monotonic() - began > seconds:
            break
        job, kind, outcome, late, said = campaign.interrupt(number)
        for table, name in (("commands", job), ("kinds", kind)):
            row = Counter(known[table].get(name, {}))
            row.update({outcome: 1, "too late": int(late), "in time": int(not late)})
            known[table][name] = dict(row)
        if said:
            known["details"].append(f"{job}, {outcome}, {said}")
        known["next"] = number + 1
        keep(known)
    return known
