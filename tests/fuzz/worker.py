"""A process that reads inputs one after the other and says what came out of each."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate, count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs

from anymodal.errors import AnymodalError, one_line
from fuzz.damage import damaged
from fuzz.plain import Damaged, NotPlain
from fuzz.rewrite import rewritten
from fuzz.subjects import Subject, digest, frequencies, made_in_memory
from fuzz.subjects.base import scratch

SECONDS = 8.0  # of the processor, for one input
MEMORY = 1024**3  # bytes that one input may take on top of what the process holds
ROOM = 3 * 1024**3  # bytes of addresses: what asks for more gets a MemoryError
SAME = 0.2  # share of inputs that are spelled anew and mean the same
FAULTS = ("other exception", "hang", "memory", "crash", "another value")
KINDS = ("clean error", "read", *FAULTS)


@attrs.frozen
class Outcome:
    """What came of an input: `kind` is "clean error", "read", or one of FAULTS."""

    number: int
    group: str
    subject: str
    kind: str
    said: str = ""


class Hang(BaseException):
    """The processor has worked on one input for too long."""


@attrs.define
class Reader:
    """Reads the inputs of a seed by their numbers, of all subjects unless some are given."""

    seed: int
    subjects: list[Subject] = attrs.field(factory=list)
    place: Any = attrs.field(init=False, default=None)
    bounds: list[float] = attrs.field(init=False)
    expected: dict[int, str] = attrs.field(init=False, factory=dict)
    ground: int = attrs.field(init=False, default=0)  # bytes that the process held when its peak was last reset

    def __attrs_post_init__(self) -> None:
        if not self.subjects:
            self.place, self.subjects = made_in_memory()
            os.environ["ANYMODAL_CACHE"] = str(Path(self.place.name) / "cache")
        self.bounds = list(accumulate(frequencies(self.subjects)))

    def input(self, number: int) -> tuple[Subject, str, bytes, bool]:
        """The subject of an input, the file that is changed, its content, and whether it means what it meant."""
        rng = random.Random(f"{self.seed} {number}")
        (subject,) = rng.choices(self.subjects, cum_weights=self.bounds)
        victim = rng.choice(subject.victims)
        data = subject.files[victim]
        if subject.spelled_anew and rng.random() < SAME and (same := rewritten(victim, data, rng)) is not None:
            return subject, victim, same, True
        return subject, victim, damaged(victim, data, rng), False

    def outcome(self, number: int) -> Outcome:
        """Read an input and judge what came out."""
        subject, victim, data, same = self.input(number)
        kind, said = self._judged(subject, victim, data, same)
        return Outcome(number, subject.group, f"{subject.name}: {victim}", kind, said)

    def _judged(self, subject: Subject, victim: str, data: bytes, same: bool) -> tuple[str, str]:
        with laid_out(subject, victim, data) as folder:
            self._watch_memory()
            try:
                with limited():
                    value = subject.read(folder)
            except Hang:
                return "hang", f"more than {SECONDS} s"
            except AnymodalError as error:
                kind, said = ("memory" if _out_of_memory(error) else "clean error"), one_line(error, 300)
                if "\n" in str(error) or len(str(error)) > 3000:
                    kind = "other exception"
                if kind == "clean error" and same and self._expected(subject):
                    return "another value", f"the same in another spelling is refused: {said}"
            except MemoryError:
                return "memory", "MemoryError"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                return "other exception", f"{type(error).__name__}: {one_line(error, 300)}{_where(error)}"
            else:
                kind, said = self._compared(subject, data, value, same)
            if (taken := _peak() - self.ground) > MEMORY:
                return "memory", f"{taken >> 20} MiB; {said}"
            return kind, said

    def _watch_memory(self) -> None:
        """Take the peak back to what the process holds now, where it has moved away from it; each time is slow."""
        if not self.ground or _peak() - self.ground > MEMORY // 16:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            self.ground = _held()

    def _compared(self, subject: Subject, data: bytes, value: Any, same: bool) -> tuple[str, str]:
        found = digest(value)
        if same and found != self._expected(subject):
            return "another value", "the same in another spelling is read as another value"
        if subject.plain is not None:
            try:
                wanted = subject.plain(data)
            except Damaged as error:
                return "another value", f"damage that an independent reader sees is not seen: {error}"
            except (NotPlain, ValueError, RecursionError):
                return "read", ""
            if digest(wanted) != found:
                return "another value", "an independent reader reads it otherwise"
        return "read", ""

    def _expected(self, subject: Subject) -> str:
        """What is read of the files as they are; nothing if they are refused."""
        if id(subject) not in self.expected:
            with laid_out(subject, "", b"") as folder, suppress(AnymodalError):
                self.expected[id(subject)] = ""
                self.expected[id(subject)] = digest(subject.read(folder))
        return self.expected[id(subject)]


_FOLDERS = count()


@contextmanager
def laid_out(subject: Subject, victim: str, data: bytes) -> Iterator[Path]:
    """The files of a subject in a new folder, one of them with another content; where `read` does not write, links."""
    whole = subject.whole(scratch())
    folder = Path(scratch(), str(next(_FOLDERS)))
    folder.mkdir()
    try:
        for inside in subject.folders:
            (folder / inside).mkdir()
        for name, content in subject.files.items():
            if name == victim:
                (folder / name).write_bytes(data)
            elif subject.writes:
                (folder / name).write_bytes(content)
            else:
                os.link(whole / name, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def limited() -> Iterator[None]:
    """Raise Hang in the body after SECONDS of the processor; warnings are no outcome."""

    def stop(*_: object) -> None:
        raise Hang

    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def _where(error: BaseException) -> str:
    """The last line of the product in a traceback."""
    found, step = "", error.__traceback__
    while step is not None:
        path = step.tb_frame.f_code.co_filename
        if "anymodal" in path and "fuzz" not in path:
            found = f" ({Path(path).name}:{step.tb_lineno})"
        step = step.tb_next
    return found


def _out_of_memory(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or "allocate" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _held() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@attrs.frozen
class Board:
    """What a process and the campaign both see: the input that is being read, and the counts by subject and outcome."""

    number: Any
    subject: Any
    since: Any
    counts: Any


def work(pipe: Connection, seed: int, board: Board) -> None:
    """Read the ranges of inputs that the other end of the pipe asks for, until it asks for nothing.

    Sends the names of the subjects first, then each fault, and None after each range. Runs in a process of its own.
    """
    import torch

    torch.set_num_threads(1)
    reader = Reader(seed)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    places = {(each.group, each.name): k for k, each in enumerate(reader.subjects)}
    pipe.send(list(places))
    while (numbers := pipe.recv()) is not None:
        for number in numbers:
            board.since.value, board.number.value = time.monotonic(), number
            subject, victim, data, same = reader.input(number)
            board.subject.value = place = places[subject.group, subject.name]
            kind, said = reader._judged(subject, victim, data, same)
            board.counts[place * len(KINDS) + KINDS.index(kind)] += 1
            if kind in FAULTS:
                pipe.send(Outcome(number, subject.group, f"{subject.name}: {victim}", kind, said))
        board.number.value = -1
        pipe.send(None)
    reader.place.cleanup()
