"""The kinds of interruptions. Each starts a run, interrupts it, and gives its exit code, or None for one too late."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import attrs

from fuzz.kills import power
from fuzz.kills.commands import Job, start
from fuzz.kills.moments import Moments


@attrs.frozen
class Usual:
    """What a run of a command is like that nobody interrupts."""

    seconds: float
    changes: int
    reads: int
    size: int  # bytes it leaves
    largest: int  # bytes of its largest file


@attrs.frozen
class Interrupted:
    """What came of it: `late` where the run ended before, `codes` of the runs, `said` where in the run it was."""

    codes: tuple[int, ...]
    said: str
    late: bool = False


@attrs.frozen
class Setting:
    """Where an interruption happens: a command, the folder it writes to, one for notes, and a source of chance."""

    job: Job
    usual: Usual
    out: Path
    notes: Path
    rng: random.Random

    @property
    def log(self) -> Path:
        return self.notes / "log.txt"


Kind = Callable[[Setting], Interrupted]


def _killed(at: Setting, number: signal.Signals, prepare: Callable[[], None] = lambda: None) -> Interrupted:
    """A signal by the clock, or at one of the changes of files."""
    if at.usual.changes and at.rng.random() < 0.6:
        moment = at.rng.randrange(at.usual.changes) + 1

        def watch() -> None:
            prepare()
            moments = Moments(at.out)
            moments.at, moments.act = ("changes", moment), lambda: os.kill(os.getpid(), number)
            moments.watch()

        code = start(at.job, at.out, at.log, prepare=watch).finish()
        return Interrupted((code,), f"at change {moment} of {at.usual.changes}", code == 0)
    moment = at.rng.uniform(0, at.usual.seconds)
    run = start(at.job, at.out, at.log, prepare=prepare)
    if (early := run.wait(moment)) is not None:
        return Interrupted((early,), f"after {moment:.2f} of {at.usual.seconds:.2f} s", True)
    os.killpg(run.pid, number) if number == signal.SIGKILL else os.kill(run.pid, number)
    code = run.finish()
    return Interrupted((code,), f"after {moment:.2f} of {at.usual.seconds:.2f} s", code == 0)


def sigkill(at: Setting) -> Interrupted:
    return _killed(at, signal.SIGKILL)


def sigterm(at: Setting) -> Interrupted:
    return _killed(at, signal.SIGTERM)


def power_loss(at: Setting) -> Interrupted:
    """A kill, after which what was not synced is gone."""
    notes = at.notes / "power"
    found = _killed(at, signal.SIGKILL, power.Disk(at.out, notes).watch)
    names = at.rng.choice(power.NAMES)
    power.cut(at.out, notes, names)
    return attrs.evolve(found, said=f"{found.said}, names: {names}")


def full_disk(at: Setting) -> Interrupted:
    """A disk that has too little room, or a system that refuses large files."""
    if at.rng.random() < 0.6 and may_mount():
        room = at.rng.randrange(1, max(2, at.usual.size // 4096)) * 4096
        with small_disk(at.out.parent, room):
            code = start(at.job, at.out, at.log).finish()
        return Interrupted((code,), f"{room} of {at.usual.size} bytes", code == 0)
    most = at.rng.randrange(at.usual.largest)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    code = start(at.job, at.out, at.log, prepare=limit).finish()
    return Interrupted((code,), f"files of at most {most} of {at.usual.largest} bytes", code == 0)


def vanished_file(at: Setting) -> Interrupted:
    """One of the inputs is removed when one of them is opened."""
    victim = at.rng.choice(at.job.inputs)
    moment = at.rng.randrange(max(1, at.usual.reads)) + 1
    kept = at.notes / "vanished"
    os.link(victim, kept)

    def watch() -> None:
        moments = Moments(at.out, at.job.inputs)
        moments.at, moments.act = ("reads", moment), lambda: victim.unlink(missing_ok=True)
        moments.watch()

    try:
        code = start(at.job, at.out, at.log, prepare=watch).finish()
        late = victim.exists()
    finally:
        victim.unlink(missing_ok=True)
        kept.rename(victim)
    return Interrupted((code,), f"{victim.name} at reading {moment} of {at.usual.reads}", late)


def two_writers(at: Setting) -> Interrupted:
    """The same command a second time while the first one runs."""
    first = start(at.job, at.out, at.log)
    moment = at.rng.uniform(0, 0.9 * at.usual.seconds) * at.rng.choice((0, 1, 1))
    late = first.wait(moment)
    second = start(at.job, at.out, at.notes / "second.txt", writer=1)
    codes = (first.finish() if late is None else late, second.finish())
    with at.log.open("a") as log:
        log.write("\n" + second.said)
    return Interrupted(codes, f"the second after {moment:.2f} of {at.usual.seconds:.2f} s", late is not None)


KINDS: dict[str, Kind] = {
    "SIGKILL": sigkill,
    "SIGTERM": sigterm,
    "full disk": full_disk,
    "vanished file": vanished_file,
    "two writers": two_writers,
    "power loss": power_loss,
}
GOES_ON = ("full disk", "vanished file", "two writers")  # the run goes on, and has to end with 0, or 2 and a sentence


def kinds_for(job: Job) -> list[str]:
    """The kinds that can happen to a command."""
    return [name for name in KINDS if job.inputs or name != "vanished file"]


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True).returncode == 0


@cache
def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["which", "mount"], capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[None]:
    """A folder that has room for so many bytes beside what lies in it; afterwards it has room again."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    there = sum(-(-path.stat().st_size // 4096 + 1) * 4096 for path in aside.rglob("*"))
    if not _mount("-t", "tmpfs", "-o", f"size={there + room}", "tmpfs", str(folder)):
        raise OSError(f"cannot mount a small disk at {folder}")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
        shutil.rmtree(aside)
        shutil.copytree(folder, aside)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()
        aside.rename(folder)
