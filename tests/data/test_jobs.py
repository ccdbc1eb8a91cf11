"""Long work: whoever does it makes the same bytes, and a run can be killed, resumed, repeated and watched."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest
from datasets_made import FEW, contents, write_config, write_pictures
from forked import Forked
from processor_time import patience
from small_runs import ALONE, command
from worker_parts import dies, doubles, raises

from anymodal.data.digest import differences
from anymodal.data.jobs import executors
from anymodal.data.jobs.executors import EXECUTORS, Local, find_executor, results
from anymodal.data.jobs.manifest import locked
from anymodal.data.store.reader import TokenStore
from anymodal.errors import ConfigError, DataError, PluginError

PICTURES = 24


@pytest.fixture(scope="module")
def work(seven, tmp_path_factory) -> Path:
    """Pictures, a configuration, and `whole`: what one process makes of them."""
    work = tmp_path_factory.mktemp("work")
    write_pictures(work / "data", PICTURES)
    write_config(work, seven)
    assert command(*tokenizing(work, work / "whole")) == 0
    return work


def tokenizing(work: Path, out: Path, *more: object) -> list[str]:
    """The arguments of the command; three crops make structured values random."""
    config = work / f"{'-'.join(FEW)}.yaml"
    options = ["--shard-size", 2, "--crops", 3, "--flip", "--workers", 1, *more]
    return ["tokenize", *map(str, [work / "data", "--config", config, "--out", out, *options])]


def start(arguments: list[str], **options) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "anymodal", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=ALONE, **pipes, **options)


def finish(process: subprocess.Popen[str], timeout: float = 900) -> tuple[int, str]:
    out, err = process.communicate(timeout=patience(timeout))
    return process.returncode, out + err


def records(out: Path) -> list[Path]:
    return list((out / ".jobs").glob("*-*.json"))


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 600) -> None:
    end = time.monotonic() + patience(seconds)
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.005)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(work, tmp_path, capsys):
    out = tmp_path / "out"
    killed = start(tokenizing(work, out, "--workers", 2))
    wait_for(lambda: len(records(out)) >= 12, killed)
    os.kill(killed.pid, signal.SIGKILL)
    assert finish(killed)[0] == -signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in records(out)}
    shards = {int(path.stem.rpartition("-")[2]) for path in made}
    assert not (out / "manifest.json").exists() and len(shards) < PICTURES / 2
    with pytest.raises(DataError, match="is not finished"):
        TokenStore(out)
    assert command(*tokenizing(work, out, "--json")) == 0 and contents(out) == contents(work / "whole")
    assert 0 < json.loads(capsys.readouterr().out)["made"] <= PICTURES / 2 - len(made) // len(FEW)


def test_a_second_run_does_nothing_and_says_so(work, capsys):
    before = {path: path.stat().st_mtime_ns for path in (work / "whole").rglob("*") if path.is_file()}
    assert command(*tokenizing(work, work / "whole")) == 0
    assert f"{PICTURES} samples in {work / 'whole'}; nothing to do, all 12 shards are there" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path.name != ".lock")


def test_lost_and_damaged_shards_are_made_again_and_no_others(work, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(*tokenizing(work, out)) == 0
    damaged, lost = out / "rgb/shard-00004.safetensors", out / "caption/shard-00007.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\7")
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert command(*tokenizing(work, out)) == 0
    assert "made 2 of 12 shards" in capsys.readouterr().out
    changed = {path.relative_to(out).as_posix() for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed == {"rgb/shard-00004.safetensors", "rgb.pixels/shard-00004.safetensors"}
    assert contents(out) == contents(work / "whole")


def test_processes_of_torchrun_make_the_same_bytes(work, tmp_path):
    out = tmp_path / "out"
    both = Forked(*tokenizing(work, out, "--executor", "torchrun"), processes=2)
    said, _ = both.communicate(patience(900))
    assert both.returncode == 0 and contents(out) == contents(work / "whole"), said
    assert said.count("made 12 of 12 shards") == 1


@pytest.mark.slow
def test_ray_makes_the_same_bytes(work, tmp_path):
    few = ("--count", 4)
    assert command(*tokenizing(work, tmp_path / "one", *few)) == 0
    code, said = finish(start(tokenizing(work, tmp_path / "ray", *few, "--executor", "ray", "--workers", 2)))
    assert code == 0 and contents(tmp_path / "ray") == contents(tmp_path / "one"), said
    assert "4 samples in" in said and "made 2 of 2 shards" in said


def test_a_full_disk_is_named_and_finished_shards_stay(work, tmp_path, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = (work / "whole/rgb.pixels/shard-00000.safetensors").stat().st_size - 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        assert command(*tokenizing(work, tmp_path / "full")) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert "error: cannot write" in said and "rgb.pixels/shard-00000.safetensors: File too large" in said
    assert "0 of 12 shards are finished and stay; the same command goes on from there" in said
    assert not list(tmp_path.glob("full/*/*shard-*"))
    assert command(*tokenizing(work, tmp_path / "full")) == 0
    assert contents(tmp_path / "full") == contents(work / "whole")


def test_two_runs_do_not_share_a_folder(work, tmp_path, capsys):
    with locked(tmp_path / "out"):
        assert command(*tokenizing(work, tmp_path / "out")) == 2
    assert "another run is writing to" in capsys.readouterr().err
    assert command(*tokenizing(work, tmp_path / "out", "--count", 2)) == 0


def test_processes_that_die_or_raise_end_the_work(tmp_path):
    assert sorted(results(Local(), doubles, range(7), 2)) == [(k, 2 * k) for k in range(7)]
    with pytest.raises(DataError, match="a worker process died"):
        list(results(Local(), dies, range(4), 2))
    with pytest.raises(DataError, match="job 3 has a problem"):
        list(results(Local(), raises, range(4), 2))
    with pytest.raises(RuntimeError, match="ZeroDivisionError in a worker process"):
        list(results(Local(), raises, range(-1, 3), 2))


def test_executors_that_cannot_be_used_say_so(monkeypatch):
    with pytest.raises(ConfigError, match="no executor 'locl'; did you mean 'local'"):
        find_executor("locl")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="torchrun --nproc-per-node"):
        find_executor("torchrun")
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'anymodal\[ray\]'"):
        find_executor("ray")


def test_an_executor_that_was_added_is_chosen_on_the_command_line(tmp_path):
    asked = []

    @EXECUTORS.add
    @attrs.frozen
    class Alone(Local):
        name: str = attrs.field(init=False, default="alone")

        def results(self, make, jobs, workers):
            asked.append(len(jobs))
            return super().results(make, jobs, 1)

    write_pictures(tmp_path / "data", 2, modalities=("rgb",))
    words = ("label", tmp_path / "data", "--with", "canny_edge", "--out", tmp_path / "out", "--executor", "alone")
    try:
        assert command(*words) == 0 and asked == [1]
    finally:
        EXECUTORS.remove("alone")


def test_differences_are_told_by_place():
    old, new = {"a": {"b": [1, 2]}, "c": 1}, {"a": {"b": (1, 2)}, "d": {"e": "x" * 90}}
    assert list(differences(old, old)) == [] == list(differences({"a": [1]}, {"a": (1,)}))
    assert list(differences(old, new)) == ['d was null, is {"e": "xxxxx...xx"}', "c was 1, is null"]
