"""Progress: one way to show long work, on a terminal, in a notebook, in a log, or not at all."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import attrs
import pytest
from small_runs import ALONE

import anymodal as am
from anymodal import progress
from anymodal.errors import ConfigError
from anymodal.progress import DISPLAYS, Display, Task, View, shown, task

SLOW = """
import time
from anymodal.progress import task
with task("loading a model") as now:
    time.sleep({seconds})  # a source that says nothing
"""


@attrs.frozen
class Noting(Display):
    """What a test sees."""

    name: str = attrs.field(init=False, default="noting")

    def open(self, task: Task, within: bool) -> View:
        return Noted(task, within)


class Noted(View):
    seen: list[str] = []

    def __init__(self, task: Task, within: bool) -> None:
        self.seen.append(f"open {task.what} {within}")

    def show(self, task: Task) -> None:
        self.seen.append(f"{task.what} {task.done}/{task.total} {task.text}")

    def close(self, task: Task) -> None:
        self.seen.append(f"close {task.what}")


@pytest.fixture
def noted():
    """Tasks are shown by a display of somebody else, and what it saw."""
    DISPLAYS.add(Noting)
    Noted.seen.clear()
    with shown("noting"):
        yield Noted.seen
    DISPLAYS.remove("noting")


def test_a_display_is_told_of_every_step_and_of_parts(noted):
    with task("outer", 2) as now:
        now.advance(1, "one")
        with task("inner") as part:
            part.expect(5)
    assert noted == ["open outer False", "outer 1/2 one", "open inner True", "inner 0/5 ", "close inner", "close outer"]


def test_a_task_that_fails_is_closed(noted):
    with pytest.raises(KeyError), task("outer"):
        raise KeyError
    assert noted[-1] == "close outer" and not progress._open


def test_an_unknown_display_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"bras.*bars"), shown("bras"):
        pass
    monkeypatch.setenv(progress.VARIABLE, "loud")
    with pytest.raises(ConfigError, match="loud"), task("work"):
        pass


def test_a_log_gets_a_line_and_few_of_them():
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(seconds=2.6)], env=ALONE, stderr=subprocess.PIPE, text=True
    )
    said = process.communicate()[1].splitlines()
    assert time.monotonic() - begun > 2
    assert 1 <= len(said) <= 2 and re.fullmatch(r"loading a model  \d+ s", said[0])


def test_short_work_says_nothing_in_a_log_but_what_it_keeps(capsys):
    with shown("lines"), task("work", 3) as now:
        now.advance(3, "quick")
    assert capsys.readouterr().err == ""
    with shown("lines"), task("step", 3, keep=True) as now:
        now.advance(3, "loss 0.5")
    assert capsys.readouterr().err == "step 3/3  loss 0.5\n"


def test_lines_come_seldom(monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress._Lines, "ticks", False)
    with shown("lines"), task("step", 1000) as now:
        for _ in range(1000):
            clock[0] += 0.1
            now.advance(1, "loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert 5 <= len(lines) <= 10 and lines[0] == "step 19/1000  loss 1"


def test_nothing_is_shown_of_a_task_that_is_over(monkeypatch):
    monkeypatch.setattr(progress, "TICK", 0.001)
    with shown("lines"), task("work"):
        pass
    assert "anymodal-progress" not in {thread.name for thread in threading.enumerate()}


def test_who_works_and_who_ticks_do_not_say_the_same_twice(monkeypatch):
    said, view, now = list[str](), progress._Lines(), Task("work")
    other = threading.Thread(target=view.show, args=(now,))

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 1:
            other.start()
            other.join(0.1)  # it waits until this one is through

    monkeypatch.setattr(progress, "say", say)
    view.next = 0.0
    view.show(now)
    other.join()
    assert len(said) == 1


def on_a_terminal(code: str, **environment: str) -> str:
    """What a program writes on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**ALONE, "TERM": "xterm", **environment}, stderr=theirs, stdout=theirs
    )
    os.close(theirs)
    said = b""
    reader = threading.Thread(target=process.wait)
    reader.start()
    while True:
        try:
            if not (more := os.read(ours, 4096)):
                break
        except OSError:  # the end of a terminal on Linux
            break
        said += more
    reader.join()
    return said.decode(errors="replace")


def test_a_terminal_has_bars_even_of_parts_and_quiet_has_none():
    code = SLOW.format(seconds=0.6).replace("time.sleep", "\n    with task('downloading'): time.sleep")
    said = on_a_terminal(code)
    assert "loading a model" in said and "downloading" in said and "0:00:0" in said
    assert on_a_terminal(code, **{progress.VARIABLE: "quiet"}) == ""


def test_a_notebook_has_a_bar_below_its_cell(monkeypatch):
    shown_there = []
    handle = types.SimpleNamespace(update=lambda data, raw: shown_there.append(data["text/plain"]))
    module = types.ModuleType("IPython.display")
    module.display = lambda data, raw, display_id: (shown_there.append(data["text/plain"]), handle)[1]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with task("fitting", 4) as now:
        now.advance(2, "loss 0.5")
    assert "[###############...............] fitting 2/4  loss 0.5" in shown_there
    assert shown_there[-1] == "fitting 2/4  loss 0.5"


def test_loading_generating_and_fitting_are_shown(noted, checkpoint, picture):
    model = am.load(checkpoint)
    assert noted[:2] == [f"open loading {checkpoint} False", f"close loading {checkpoint}"]
    noted.clear()
    model.generate({"rgb": picture}, ["depth", "caption"], steps=2)
    assert noted[:3] == ["open generating False", "generating 0/2 depth 1/2", "generating 1/2 depth 2/2"]
    assert noted[-2].startswith("generating 2/2 caption") and noted[-1] == "close generating"


def test_nothing_else_draws_bars():
    """There is no second way: rich's bars are named in one file."""
    root = Path(progress.__file__).parent
    users = [path for path in root.rglob("*.py") if "rich.progress" in path.read_text() or "tqdm" in path.read_text()]
    assert users == [Path(progress.__file__)]
