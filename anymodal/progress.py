"""How far long work is, shown in one way: bars on a terminal or in a notebook, plain lines in a log, or nothing.

Whoever works for more than a moment does it within a `task`::

    with task("loading tiny") as now:
        ...
        now.advance(1, "the third of five files")

The environment variable ANYMODAL_PROGRESS, or `shown` around the work, names how: "auto", or an entry of `DISPLAYS`, to
which another distribution adds its own with `DISPLAYS.add`. Nothing is silent for more than two seconds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable

VARIABLE = "ANYMODAL_PROGRESS"
FIRST, EVERY, RARELY = 1.8, 5.0, 30.0  # seconds to the first line, between lines, and later on
TICK = 0.25  # seconds between looks at a task that says nothing
WIDTH = 30  # characters of a bar in a notebook


class Task:
    """A piece of work: `done` of `total` steps (None: nobody knows), and `text`, what is being done.

    With `keep` a log has its last line, however short the work was.
    """

    def __init__(self, what: str, total: int | None = None, done: int = 0, keep: bool = False) -> None:
        self.what, self.total, self.done, self.text, self.keep = what, total, done, "", keep
        self.started = time.monotonic()
        self.view: View = View()

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        """So many steps more are done; `text` says what is being done from now on."""
        self.update(self.done + steps, text)

    def update(self, done: int, text: str | None = None) -> None:
        """So many steps are done."""
        self.done = done
        self.text = self.text if text is None else text
        self.view.show(self)

    def expect(self, total: int) -> None:
        """There are so many steps."""
        self.total = total
        self.view.show(self)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def __str__(self) -> str:
        many = "" if self.total is None else f" {self.done}/{self.total}"
        return f"{self.what}{many}  {self.text or f'{self.seconds:.0f} s'}"


class View:
    """What shows one task; this one shows nothing. `show` is called whenever something changed."""

    ticks: ClassVar[bool] = False  # whether `show` is also called now and then while nothing changes

    def show(self, task: Task) -> None:
        """Show how far the task is; called often."""

    def close(self, task: Task) -> None:
        """The task is at its end, or was given up."""


@attrs.frozen
class Display(ABC):
    """A way of showing tasks."""

    name: str = attrs.field(init=False)

    @abstractmethod
    def open(self, task: Task, within: bool) -> View:
        """A view of a task that begins; `within` says whether it is a part of one that is shown already."""


DISPLAYS = SettingsTable(Display, "progress display")  # type: ignore[type-abstract]


@DISPLAYS.add
@attrs.frozen
class Quiet(Display):
    """Nothing."""

    name: str = attrs.field(init=False, default="quiet")

    def open(self, task: Task, within: bool) -> View:
        return View()


def _block() -> Any:
    """The bars of all tasks on a terminal, and below them what they say, however narrow it is."""
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Block(Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            yield from (Text(row.fields["text"]) for row in self.tasks if row.fields["text"])

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Block(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)


class _Bar(View):
    """A row of the one block of bars that a terminal can have."""

    shared: ClassVar[Any] = None
    rows: ClassVar[int] = 0

    def __init__(self, task: Task) -> None:
        if _Bar.shared is None:
            _Bar.shared = _block()
            _Bar.shared.start()
        _Bar.rows += 1
        self.row = _Bar.shared.add_task(task.what, total=task.total, completed=task.done, text="")

    def show(self, task: Task) -> None:
        _Bar.shared.update(self.row, completed=task.done, total=task.total, text=task.text)

    def close(self, task: Task) -> None:
        _Bar.shared.remove_task(self.row)
        _Bar.rows -= 1
        if not _Bar.rows:
            _Bar.shared.stop()
            _Bar.shared = None


@DISPLAYS.add
@attrs.frozen
class Bars(Display):
    """Bars of rich on the standard error."""

    name: str = attrs.field(init=False, default="bars")

    def open(self, task: Task, within: bool) -> View:
        return _Bar(task)


class _Lines(View):
    ticks = True

    def __init__(self) -> None:
        self.next, self.gap = time.monotonic() + FIRST, EVERY
        self.said = ""
        self.speaking = threading.Lock()  # of who works and of who ticks, one

    def show(self, task: Task) -> None:
        with self.speaking:
            if (now := time.monotonic()) >= self.next:
                self._say(task)
                self.next, self.gap = now + self.gap, min(RARELY, 1.5 * self.gap)

    def close(self, task: Task) -> None:
        if task.keep and task.text != self.said:
            self._say(task)

    def _say(self, task: Task) -> None:
        self.said = task.text
        say(str(task))


@DISPLAYS.add
@attrs.frozen
class Lines(Display):
    """A line now and then, seldom more than one in five seconds."""

    name: str = attrs.field(init=False, default="lines")

    def open(self, task: Task, within: bool) -> View:
        return View() if within else _Lines()


class _NotebookBar(View):
    ticks = True

    def __init__(self, task: Task) -> None:
        from IPython.display import display  # type: ignore[import-not-found]

        self.shown = 0.0
        self.handle = display({"text/plain": str(task)}, raw=True, display_id=True)

    def show(self, task: Task) -> None:
        if (now := time.monotonic()) - self.shown < TICK:
            return
        self.shown = now
        filled = round(WIDTH * task.done / task.total) if task.total else 0
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] " if task.total else ""
        self.handle.update({"text/plain": f"{bar}{task}"}, raw=True)

    def close(self, task: Task) -> None:
        self.handle.update({"text/plain": str(task)}, raw=True)


@DISPLAYS.add
@attrs.frozen
class Notebook(Display):
    """A bar below the cell of a notebook."""

    name: str = attrs.field(init=False, default="notebook")

    def open(self, task: Task, within: bool) -> View:
        return _NotebookBar(task)


_chosen: ContextVar[str | None] = ContextVar("chosen", default=None)
_open: list[Task] = []


@contextmanager
def shown(how: str | None) -> Iterator[None]:
    """Show the tasks of the body in that way: "auto", or a name in `DISPLAYS`; None leaves it as it is.

    Raises ConfigError for another name.
    """
    if how not in (None, "auto"):
        DISPLAYS(how)
    token = _chosen.set(how or _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def display() -> Display:
    """How tasks are shown now. Raises ConfigError for an environment variable that names no way."""
    how = _chosen.get() or os.environ.get(VARIABLE) or "auto"
    if how != "auto":
        return DISPLAYS(how)
    if os.environ.get("RANK", "0") != "0":  # of the processes of torchrun, the first one speaks
        return Quiet()
    if "ipykernel" in sys.modules:
        return Notebook()
    return Bars() if sys.stderr is not None and sys.stderr.isatty() else Lines()


def is_quiet() -> bool:
    """Whether it was asked, for the body of `shown`, that nothing is shown."""
    return _chosen.get() == "quiet"


@contextmanager
def task(what: str, total: int | None = None, done: int = 0, *, keep: bool = False) -> Iterator[Task]:
    """Show the work of the body.

    Args:
        what: its name, for people.
        total: its steps, if they are known.
        done: how many of them are done already.
        keep: whether a log has its last line, however short the work was.

    Returns:
        The task, which is told of every step.
    """
    now = Task(what, total, done, keep)
    now.view = display().open(now, bool(_open))
    if _open and _open[0].view.ticks:  # where one line tells of all, it names the part
        _open[0].text = what
    _open.append(now)
    ended = threading.Event()
    ticking = threading.Thread(target=_tick, args=(now, ended), daemon=True, name="anymodal-progress")
    if now.view.ticks:
        ticking.start()
    try:
        yield now
    finally:
        ended.set()
        if now.view.ticks:
            ticking.join()  # it shows nothing once the task is over
        _open.remove(now)
        now.view.close(now)


def _tick(now: Task, ended: threading.Event) -> None:
    """Show a task that says nothing for long, such as one that waits for a file."""
    while not ended.wait(TICK):
        now.view.show(now)


def has_bars() -> bool:
    """Whether bars are on the terminal now."""
    return _Bar.shared is not None


def say(text: str) -> None:
    """Print a line on the standard error, above the bars where there are any."""
    if has_bars():
        _Bar.shared.console.print(text, highlight=False, markup=False, soft_wrap=True)
    elif sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201
