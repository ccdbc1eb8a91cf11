"""Interrupted runs: that each kind interrupts, and what a power cut leaves."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import pytest

from fuzz.kills import power
from fuzz.kills.campaign import compared
from fuzz.kills.commands import Job, start
from fuzz.kills.kinds import KINDS, Setting, Usual, kinds_for


def write_files(inputs: Path, out: Path, writer: int) -> None:
    """Ten files, each written beside its place and renamed; the last one is what an input holds."""
    out.mkdir(exist_ok=True)
    for k in range(10):
        (out / f".{k}").write_text("x" * 1000)
        (out / f".{k}").rename(out / f"{k}")
    (out / "copy").write_text((inputs / "a").read_text())


@pytest.fixture
def setting(tmp_path):
    for name in ("place", "notes", "inputs"):
        (tmp_path / name).mkdir()
    (tmp_path / "inputs" / "a").write_text("y")
    job = Job("toy", action=partial(write_files, tmp_path / "inputs"), inputs=(tmp_path / "inputs" / "a",))
    usual = Usual(seconds=0.05, changes=21, reads=1, size=11 * 4096, largest=1000)
    return lambda seed: Setting(job, usual, tmp_path / "place" / "toy", tmp_path / "notes", random.Random(seed))


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM", "full disk", "vanished file"])
def test_each_kind_interrupts(kind, setting, tmp_path):
    for seed in range(4):
        found = KINDS[kind](setting(seed))
        assert found.late == (found.codes == (0,)), found
        assert (tmp_path / "inputs" / "a").read_text() == "y"  # it is there again
        if not found.late:
            break
    assert not found.late and found.codes in ({"SIGKILL": [(-9,)], "SIGTERM": [(-15,)]}.get(kind, [(70,)]))


def test_two_writers_run_at_once(setting):
    assert any(len(KINDS["two writers"](setting(seed)).codes) == 2 for seed in range(3))


def test_commands_that_read_nothing_have_nothing_to_vanish():
    assert "vanished file" not in kinds_for(Job("x")) and "vanished file" in kinds_for(Job("x", inputs=(Path("a"),)))


@pytest.mark.parametrize("names", power.NAMES)
def test_a_power_cut_takes_what_was_not_synced(names, tmp_path):
    """A file that is synced with its name stays; others are empty, cut to what they had, or have no name yet."""
    out, notes = tmp_path / "out", tmp_path / "notes"

    def work(out: Path, writer: int) -> None:
        power.Disk(out, notes).watch()
        out.mkdir()
        for name in ("whole", "late"):
            (out / name).write_text(name)
        sync(out / "whole")
        sync(out)
        with (out / "whole").open("a") as file:
            file.write(" and more")
        (out / "late").rename(out / "renamed")
        (out / "new").write_text("new")

    assert start(Job("toy", action=work), out, tmp_path / "log").finish() == 0, (tmp_path / "log").read_text()
    power.cut(out, notes, names)
    left = {path.name: path.read_text() for path in out.iterdir()}
    other = {"renamed": "", "new": ""} if names == "every" else {"late": ""}
    assert left == {"whole": "whole", **other}


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def test_hidden_files_beside_the_same_result_are_told_apart():
    assert compared({"a": "1"}, {"a": "1"})[0] == "same result"
    assert compared({"a": "1", ".b/c": "2"}, {"a": "1"}) == ("files left", ".b/c")
    assert compared({"a": "2"}, {"a": "1"})[0] == "faults" == compared({}, {"a": "1"})[0]
