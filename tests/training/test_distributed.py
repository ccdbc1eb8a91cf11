"""Real processes: any number of them computes the same, and a run that was cut off goes on as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from anymodal_scenes import write
from forked import Forked
from processor_time import patience
from small_runs import ALONE, GRID, VIT, WORDS, command, model_config, torchrun, trained_tokenizer

from anymodal.families.picture_files import read_picture
from anymodal.nn.device import fast_precision
from anymodal.training.log import read_log
from anymodal.training.stored import newest_checkpoint, read_state

STEPS = 24
MEASURED = "evaluation={data: TOKENS, every: 4, samples: 8}"
MUON = ("training.optimizer=muon", "training.clip=0.5")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with a grid, a dense stream and sequences, on tokens of a dozen scenes."""
    work = tmp_path_factory.mktemp("line")
    write(work / "scenes", 12, seed=3, size=32, workers=1)
    trained_tokenizer(work / "scenes", work / "tokenizers", modality="rgb", settings=GRID, encoder=VIT, decoder=VIT)
    trained_tokenizer(work / "scenes", work / "tokenizers", **WORDS)
    model_config(
        work / "model.yaml",
        {"rgb": {}, "caption": {"length": 24}, "color_palette": {}},
        [
            {"inputs": {"rgb.pixels": 1}, "targets": {"caption": 1, "color_palette": 1}},
            {"inputs": {"caption": 1}, "targets": {"rgb": 1}, "keep": {"caption": "all"}},
        ],
        training={
            "steps": STEPS,
            "batch_size": 8,
            "lr": 1e-3,  # Adam turns rounding of gradients near zero into whole steps: small ones keep the curves close
            "ema": 0.9,
            "schedule": "constant",
            "precision": "float32",
            "log_every": 1,
            "save_every": 5,
        },
        stream_weights={"caption": 2},
    )
    assert command("tokenize", work / "scenes", "--config", work / "model.yaml", "--out", work / "tokens") == 0
    return work / "model.yaml"


def words(recipe: Path, out: Path, *overrides: str) -> list[str]:
    """`train` of the command line; it resumes where something is to be resumed."""
    sets = [argument for override in overrides for argument in ("--set", override)]
    return ["train", str(recipe), "--out", str(out), "--resume", *sets]


def start(recipe: Path, out: Path, *overrides: str, processes: int = 1, **options: Any) -> Forked:
    return Forked(*words(recipe, out, *overrides), processes=processes, **options)


def launched(recipe: Path, out: Path, *overrides: str) -> subprocess.Popen[str]:
    """Two processes of torchrun itself."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    line = [*torchrun(2), "-m", "anymodal", *words(recipe, out, *overrides)]
    return subprocess.Popen(line, env=ALONE, **pipes)


def finish(process: Forked | subprocess.Popen[str]) -> str:
    written, _ = process.communicate(timeout=patience(240))
    return written


def trained(recipe: Path, out: Path, *overrides: str, processes: int = 1) -> dict[int, float]:
    process = start(recipe, out, *overrides, processes=processes)
    written = finish(process)
    assert process.returncode == 0, written
    return curve(out)


def curve(out: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in read_log(out / "log.jsonl")}


def when(condition: Callable[[], bool], process: Forked | subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait for a condition with hardly a pause: what is waited for may last some milliseconds."""
    end = time.monotonic() + patience(seconds)
    while not condition():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end
        time.sleep(0.0005)


def lines(out: Path) -> int:
    path = out / "log.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The losses of a run of one process that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    losses = trained(recipe, out)
    captions = [record["loss.caption"] for record in read_log(out / "log.jsonl") if "loss.caption" in record]
    assert sorted(losses) == list(range(1, STEPS + 1)) and captions[-1] < captions[0]
    return losses


@pytest.fixture(scope="module")
def whole_of_two(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The losses of a run of two processes that nothing disturbed."""
    return trained(recipe, tmp_path_factory.mktemp("two") / "run", processes=2)


class TestAnyNumberOfProcesses:
    def test_two_give_the_losses_of_one(self, whole: dict[int, float], whole_of_two: dict[int, float]) -> None:
        assert whole_of_two == pytest.approx(whole, abs=1e-5)

    @pytest.mark.parametrize(
        ("processes", "overrides"),
        [
            (1, ["training.accumulate=4"]),
            (2, ["parallel.strategy=fsdp", "parallel.checkpoint_activations=true", MEASURED]),
            pytest.param(4, ["parallel.strategy=fsdp", "training.accumulate=2"], marks=pytest.mark.slow),
            pytest.param(4, [], marks=pytest.mark.slow),
        ],
    )
    def test_gives_the_same_losses(
        self, recipe: Path, whole: dict[int, float], tmp_path: Path, processes: int, overrides: list[str]
    ) -> None:
        given = [override.replace("TOKENS", str(recipe.parent / "tokens")) for override in overrides]
        losses = trained(recipe, tmp_path / "run", *given, processes=processes)
        assert losses == pytest.approx(whole, abs=1e-5)
        assert (tmp_path / "run" / "model" / "config.json").exists()

    @pytest.mark.parametrize(
        ("before", "after"),
        [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow), pytest.param(2, 4, marks=pytest.mark.slow)],
    )
    def test_takes_up_what_another_number_left(
        self, recipe: Path, whole: dict[int, float], tmp_path: Path, before: int, after: int
    ) -> None:
        out = tmp_path / "run"
        trained(recipe, out, "training.steps=10", "parallel.strategy=fsdp", processes=before)
        assert curve(out).keys() == set(range(1, 11))
        assert trained(recipe, out, processes=after) == pytest.approx(whole, abs=1e-5)


@pytest.fixture(scope="module")
def whole_of_muon(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The losses of Muon in one process, with gradients that are cut."""
    out = tmp_path_factory.mktemp("muon") / "run"
    losses = trained(recipe, out, *MUON)
    assert min(record["gradient_norm"] for record in read_log(out / "log.jsonl")) > 0.5, "nothing was cut"
    return losses


@pytest.mark.parametrize(
    ("processes", "overrides"),
    [
        (2, ["parallel.strategy=fsdp", "training.accumulate=2"]),
        pytest.param(2, ["training.accumulate=2"], marks=pytest.mark.slow),
        pytest.param(1, ["training.accumulate=4"], marks=pytest.mark.slow),
    ],
)
def test_muon_gives_the_same_losses_too(
    recipe: Path, whole_of_muon: dict[int, float], tmp_path: Path, processes: int, overrides: list[str]
) -> None:
    """Its updates are of whole matrices, wherever their rows lie."""
    losses = trained(recipe, tmp_path / "run", *MUON, *overrides, processes=processes)
    near = 2e-4 if fast_precision(torch.device("cpu")) == "float32" else 5e-3
    assert losses == pytest.approx(whole_of_muon, abs=near)


def test_weights_that_are_split_wait_as_whole_ones_do(recipe: Path, tmp_path: Path) -> None:
    trained(recipe, tmp_path / "first", "training.steps=2")
    frozen = f"start={{model: {tmp_path / 'first' / 'model'}, freeze: ['encoder.*', '*_table'], freeze_steps: 4}}"
    alone = trained(recipe, tmp_path / "one", "training.steps=8", frozen)
    split = trained(recipe, tmp_path / "two", "training.steps=8", frozen, "parallel.strategy=fsdp", processes=2)
    assert split == pytest.approx(alone, abs=1e-5) and len(split) == 8


class TestKilled:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_at_a_random_step(self, recipe: Path, whole: dict[int, float], tmp_path: Path, seed: int) -> None:
        out, step = (
            tmp_path / "run",
            random.Random(seed).randrange(11, STEPS),
        )  # the second checkpoint is after the first
        process = start(recipe, out, last=step)
        when(lambda: lines(out) >= step, process)
        process.kill()
        finish(process)
        assert newest_checkpoint(out / "checkpoints") is not None and lines(out) == step
        assert trained(recipe, out) == pytest.approx(whole, abs=1e-6)

    def test_while_a_checkpoint_is_written(self, recipe: Path, whole: dict[int, float], tmp_path: Path) -> None:
        out = tmp_path / "run"
        partial = out / "checkpoints" / ".partial"
        for _ in range(20):
            process = start(recipe, out, "training.save_every=1")
            when(lambda: newest_checkpoint(out / "checkpoints") is not None and partial.exists(), process)
            process.kill()
            finish(process)
            if partial.exists():
                break
        assert partial.exists(), "the run was never killed while it wrote"
        assert trained(recipe, out, "training.save_every=5") == pytest.approx(whole, abs=1e-6)
        assert not partial.exists()

    def test_one_of_two_processes(self, recipe: Path, whole_of_two: dict[int, float], tmp_path: Path) -> None:
        out = tmp_path / "run"
        process = launched(recipe, out)
        when(lambda: lines(out) >= 7, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if b"\0anymodal\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(workers) == 2
        os.kill(int(workers[1]), signal.SIGKILL)
        finish(process)
        assert process.returncode != 0
        assert trained(recipe, out, processes=2) == pytest.approx(whole_of_two, abs=1e-6)


class TestAskedToEnd:
    @pytest.mark.parametrize("processes", [1, 2])
    def test_sigterm_saves_and_exits_cleanly(
        self, recipe: Path, whole: dict[int, float], tmp_path: Path, processes: int
    ) -> None:
        out = tmp_path / "run"
        more = ["training.save_every=1000", "workers=1"]
        process = start(recipe, out, *more, last=4) if processes == 1 else launched(recipe, out, *more)
        when(lambda: lines(out) >= 4, process)
        process.terminate()
        written = finish(process)
        assert processes > 1 or process.returncode == 0, written
        assert "Traceback" not in written or processes > 1
        checkpoint = newest_checkpoint(out / "checkpoints")
        assert checkpoint is not None and read_state(checkpoint)["step"] == max(curve(out)) < STEPS
        assert trained(recipe, out, processes=processes) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_evaluation_measures_every_component_and_draws(recipe: Path, tmp_path: Path, processes: int) -> None:
    tokens = yaml.safe_load(recipe.read_text())["data"]
    held_out = f"evaluation={{data: {tokens}, every: 4, samples: 8, pictures: 2}}"
    overrides = [held_out, "training.steps=8", "checkpoints={best: 1}", "parallel.strategy=fsdp"]
    trained(recipe, tmp_path / "run", *overrides, processes=processes)
    first, last = read_log(tmp_path / "run" / "evaluation.jsonl")
    streams = {"component.0": {"caption", "color_palette"}, "component.1": {"rgb"}}
    names = {"step", "loss", *streams, *(f"{k}.{name}" for k, s in streams.items() for name in s)}
    assert set(last) == names | {f"loss.{name}" for s in streams.values() for name in s}
    assert first["step"] == 4 and last["step"] == 8 and last["loss"] < first["loss"]
    pictures = [read_picture(path) for path in sorted((tmp_path / "run" / "samples").iterdir())]
    assert len(pictures) == 2 and all(len(picture.getcolors(1 << 20)) > 100 for picture in pictures)


def test_a_full_disk_leaves_the_last_good_checkpoint(recipe: Path, whole: dict[int, float], tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained(recipe, out, "training.steps=10")
    size = max(path.stat().st_size for path in newest_checkpoint(out / "checkpoints").iterdir())
    process = start(recipe, out, file_size=size // 2)
    written = finish(process)
    assert process.returncode == 2 and "Traceback" not in written
    assert "cannot write a checkpoint" in written and "the last good one is" in written, written
    assert newest_checkpoint(out / "checkpoints").name == "step-00000010"
    assert trained(recipe, out) == pytest.approx(whole, abs=1e-6)


def test_settings_of_a_checkpoint_are_plain_json(recipe: Path, whole: dict[int, float], tmp_path: Path) -> None:
    trained(recipe, tmp_path / "run", "training.steps=2")
    state = json.loads((newest_checkpoint(tmp_path / "run" / "checkpoints") / "state.json").read_text())
    assert state["step"] == 2 and state["settings"]["batch_size"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bfloat16", "8bit"])
def test_small_moments_are_split_with_their_weights(
    recipe: Path, whole: dict[int, float], tmp_path: Path, kind: str
) -> None:
    """Scales of rows too, and what they stand for is read by another number of processes."""
    moments = f"training.optimizer={{moments: {kind}}}"
    trained(recipe, tmp_path / "run", moments, "training.steps=4", "parallel.strategy=fsdp", processes=2)
    losses = trained(recipe, tmp_path / "run", moments, "training.steps=8")
    assert list(losses.values()) == pytest.approx([whole[step] for step in losses], abs=0.05) and len(losses) == 8
