"""The engine of training: runs that go on exactly, that are stopped, their log and their checkpoints."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import random
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from rich.console import Console
from small_engines import (
    CPU,
    SETTINGS,
    Noisy,
    assert_same_state,
    assert_same_weights,
    batches_from,
    interrupted_after,
    squared,
    trained,
)
from small_runs import stored_tensors
from torch import Tensor, nn

from anymodal import progress
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.nn.distributed import alone
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.checkpoint import (
    CheckpointFolder,
    SavingConfig,
    claimed,
)
from anymodal.training.device import to_device
from anymodal.training.engine import Engine
from anymodal.training.log import TrainingLog, read_log
from anymodal.training.runtime import Runtime
from anymodal.training.seeding import seed_everything
from anymodal.training.settings import TrainingSettings
from anymodal.training.signals import stop_requests
from anymodal.training.stored import best_checkpoint, newest_checkpoint, read_state
from anymodal.training.tokenizers.run import fit_tokenizer


class TestResume:
    @pytest.mark.parametrize(
        ("accumulate", "optimizer"),
        [(1, "adamw"), (2, "adamw"), (1, "muon"), (1, {"moments": "bfloat16"}), (1, {"moments": "8bit"})],
    )
    def test_equals_an_uninterrupted_run(self, tmp_path: Path, accumulate: int, optimizer: Any) -> None:
        whole = trained(tmp_path / "whole", accumulate=accumulate, optimizer=optimizer)
        with pytest.raises(KeyboardInterrupt):
            batches = interrupted_after(5 * accumulate)
            trained(tmp_path / "parts", batches=batches, accumulate=accumulate, optimizer=optimizer)
        assert newest_checkpoint(tmp_path / "parts" / "checkpoints").name == "step-00000005"
        torch.manual_seed(99)
        rest = trained(tmp_path / "parts", resume=True, accumulate=accumulate, optimizer=optimizer)
        assert_same_state(rest.model, whole.model)
        assert_same_weights(rest, whole)
        assert [record["step"] for record in read_log(tmp_path / "parts" / "log.jsonl")] == [2, 4, 6, 8, 10]

    def test_a_tokenizer_too(self, tmp_path: Path) -> None:
        vit = ViTConfig(dim=8, depth=1, heads=2, patch=4)

        def run(out: Path, steps: int, resume: bool) -> VQTokenizer:
            torch.manual_seed(5)
            tokenizer = VQTokenizer(TokenizerConfig("vit", 1, vit, vit, CosineConfig(size=8, latent=4), image_size=8))
            settings = attrs.evolve(SETTINGS, steps=steps, schedule="constant", ema=0.0)
            return fit_tokenizer(tokenizer, images, "l1", settings, out, resume=resume)

        def images(start: int) -> Iterator[Tensor]:
            for index in itertools.count(start):
                yield torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(index))

        whole = run(tmp_path / "whole", 10, resume=False)
        run(tmp_path / "parts", 5, resume=False)
        assert_same_state(run(tmp_path / "parts", 10, resume=True), whole)

    def test_plain_iterables_are_read_up_to_where_the_run_stopped(self, tmp_path: Path) -> None:
        whole = trained(batches=batches_from(0))
        trained(tmp_path, batches=batches_from(0), steps=10, max_minutes=1e-9)
        rest = trained(tmp_path, batches=batches_from(0), resume=True)
        assert_same_state(rest.model, whole.model)

    def test_a_step_that_was_left_out_is_no_update_of_the_average(self, tmp_path: Path) -> None:
        def run(out: Path, steps: int, resume: bool = False) -> Engine[nn.Module]:
            torch.manual_seed(5)
            settings = attrs.evolve(SETTINGS, steps=steps, schedule="constant")
            engine = Engine(nn.Linear(3, 3), settings, out, runtime=CPU)
            engine.run(third_is_nan, squared, resume=resume)
            return engine

        def third_is_nan(start: int) -> Iterator[Tensor]:
            return (x * math.nan if k == 2 else x for k, x in enumerate(batches_from(start), start))

        whole = run(tmp_path / "whole", 10)
        run(tmp_path / "parts", 5)
        rest = run(tmp_path / "parts", 10, resume=True)
        assert rest.skipped == 1
        assert_same_weights(rest, whole)

    def test_nothing_to_resume_is_a_start(self, tmp_path: Path) -> None:
        assert_same_state(trained(tmp_path, resume=True).model, trained().model)

    def test_a_damaged_checkpoint_is_passed_over(self, tmp_path: Path) -> None:
        trained(tmp_path)
        newest = newest_checkpoint(tmp_path / "checkpoints")
        next(newest.glob("*.safetensors")).write_bytes(b"short")
        assert newest_checkpoint(tmp_path / "checkpoints").name == "step-00000005"
        with pytest.raises(CheckpointError, match="incomplete"):
            read_state(newest)

    @pytest.mark.parametrize(
        "change", [{"progress": {"steps": 3}}, {"progress": {"step": "x"}}, {"settings": None}, {}]
    )
    def test_a_state_that_cannot_be_used_is_named(self, tmp_path: Path, change: dict[str, Any]) -> None:
        trained(tmp_path)
        state = newest_checkpoint(tmp_path / "checkpoints") / "state.json"
        known = json.loads(state.read_text())
        state.write_text(json.dumps({**known, **change} if change else {k: known[k] for k in known if k != "progress"}))
        with pytest.raises(CheckpointError, match=r"step-00000010 is damaged.*delete it to fall back on an older one"):
            read_state(state.parent)
        assert_same_state(trained(tmp_path, resume=True).model, trained().model)

    def test_a_run_of_damaged_checkpoints_alone_is_not_begun_anew(self, tmp_path: Path) -> None:
        trained(tmp_path)
        for state in tmp_path.glob("checkpoints/*/state.json"):
            state.write_text("{")
        words = r"step-00000010 is damaged, and no older one is left; delete .* to start anew"
        with pytest.raises(CheckpointError, match=words), claimed(tmp_path, alone("cpu"), resume=True):
            pass

    @pytest.mark.parametrize("line", [b'{"loss": 1}', b"[1]", b"\xff\xfe", b'{"step": null}'])
    def test_lines_of_a_log_that_are_no_records_are_dropped(self, tmp_path: Path, line: bytes) -> None:
        trained(tmp_path, steps=5, schedule="constant")
        before = read_log(tmp_path / "log.jsonl")
        with (tmp_path / "log.jsonl").open("ab") as file:
            file.write(line + b"\n")
        trained(tmp_path, resume=True, schedule="constant")
        assert before and read_log(tmp_path / "log.jsonl")[: len(before)] == before

    def test_another_run_is_not_overwritten(self, tmp_path: Path) -> None:
        trained(tmp_path)
        with pytest.raises(CheckpointError, match="already holds a run"):
            trained(tmp_path)

    def test_changed_settings_are_refused_unless_harmless(self, tmp_path: Path) -> None:
        trained(tmp_path)
        with pytest.raises(ConfigError, match=r"lr = 0\.01, not 0\.5"):
            trained(tmp_path, resume=True, lr=0.5)
        assert trained(tmp_path, resume=True, steps=12, save_every=1).step == 12

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        trained(tmp_path)
        with pytest.raises(CheckpointError, match="another model"):
            Engine(nn.Linear(3, 3), SETTINGS, tmp_path, runtime=CPU).resume()


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_finishes_the_step_saves_and_restores_handlers(self, tmp_path: Path, number: int) -> None:
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt) if number == signal.SIGINT else nullcontext():
            trained(tmp_path, batches=interrupted_after(3, number))
        assert signal.getsignal(number) is before
        assert newest_checkpoint(tmp_path / "checkpoints").name == "step-00000003"

    def test_the_second_signal_is_handled_as_before(self) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        with pytest.raises(KeyboardInterrupt), stop_requests() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, before)

    def test_the_time_limit_leaves_a_checkpoint(self, tmp_path: Path) -> None:
        engine = trained(tmp_path, max_minutes=1e-9)
        assert engine.step == 1 and not engine.finished
        assert newest_checkpoint(tmp_path / "checkpoints").name == "step-00000001"

    def test_too_few_batches(self) -> None:
        with pytest.raises(DataError, match="ended at step 2 of 10"):
            trained(batches=itertools.islice(batches_from(0), 2))


def test_the_first_of_several_processes_draws_what_one_alone_does_and_no_other_does() -> None:
    def drawn(*numbers: int) -> list[float]:
        seed_everything(*numbers)
        return [random.random(), float(np.random.random()), float(torch.rand(()))]

    assert drawn(3, 5) == drawn(3, 5, 0) == drawn(3, 5)
    others = [drawn(3, 5, 1), drawn(3, 5, 2), drawn(3, 6, 0), drawn(4, 5, 0), drawn(5, 3, 0), drawn(3, 5, 0)]
    assert all(len(set(column)) == len(others) for column in zip(*others, strict=True))


class TestLog:
    def test_lines(self, tmp_path: Path) -> None:
        engine = Engine(Noisy(), SETTINGS, tmp_path, runtime=CPU)
        engine.run(batches_from, squared, report=lambda: {"answer": 42.0})
        records = read_log(tmp_path / "log.jsonl")
        assert [record["step"] for record in records] == [2, 4, 6, 8, 10]
        keys = {"step", "loss", "twice", "gradient_norm", "answer", "lr", "skipped", "bad_samples"}
        keys |= {"samples_per_second", "waiting", "seconds"}
        assert all(set(record) == keys for record in records)
        assert all(record["twice"] == pytest.approx(2 * record["loss"]) for record in records)
        assert [record["lr"] for record in records[:2]] == pytest.approx([1e-2 * 2 / 3, 1e-2])
        assert all(record["samples_per_second"] > 0 for record in records)

    def test_pictures_of_later_steps_are_dropped_where_a_run_begins_again(self, tmp_path: Path) -> None:
        (tmp_path / "samples").mkdir()
        names = ["step-00000002.png", "step-00000004.png", "step-late.png", "mine.png"]
        for name in names:
            (tmp_path / "samples" / name).touch()
        with TrainingLog(tmp_path / "log.jsonl", 2, 10, 4, quiet=True):
            assert {path.name for path in (tmp_path / "samples").iterdir()} == {*names} - {names[1]}

    def test_a_cut_off_line_is_dropped_on_resume(self, tmp_path: Path) -> None:
        trained(tmp_path, steps=5, save_every=1, schedule="constant")
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": 8, "seconds": 1.0}) + '\n{"step": 9, "lo')
        trained(tmp_path, resume=True, schedule="constant")
        assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [2, 4, 5, 6, 8, 10]

    @pytest.mark.parametrize("width", [40, 100])
    def test_all_numbers_are_seen_below_the_bar(self, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        terminal = Console(file=screen, force_terminal=True, width=width)
        monkeypatch.setattr("rich.console.Console", lambda stderr: terminal)
        with progress.shown("bars"), TrainingLog(None, 0, 10, 4) as log:
            log.advance(4)
            log.write({"loss": 0.5, "reconstruction": 0.25, "usage": 0.875, "perplexity": 123.0})
            progress._Bar.shared.refresh()
        shown = screen.getvalue()
        assert (
            "4/10" in shown and "perplexity 123" in " ".join(shown.split()) and "usage 0.875" in " ".join(shown.split())
        )

    def test_lines_on_standard_error_only_if_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        trained()
        assert capsys.readouterr() == ("", "")
        engine = Engine(Noisy(), SETTINGS, runtime=Runtime(device="cpu", verbose=True))
        engine.run(batches_from, squared)
        written = capsys.readouterr()
        assert written.out == "" and "step 10/10" in written.err and "loss" in written.err


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("lr", 0.0),
        ("ema", 1.0),
        ("schedule", "step"),
        ("precision", "float16"),
        ("optimizer", {"betas": (0.9, 1.0)}),
        ("max_minutes", 0),
    ],
)
def test_impossible_settings_name_the_field(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field if field != "optimizer" else "betas"):
        attrs.evolve(SETTINGS, **{field: value})


def test_settings_are_plain_data() -> None:
    plain = json.loads(json.dumps(attrs.asdict(SETTINGS)))
    assert structure(plain, TrainingSettings, "a test") == SETTINGS


@pytest.mark.parametrize("background", [True, False])
def test_the_newest_and_the_best_checkpoints_stay(tmp_path: Path, background: bool) -> None:
    folder = CheckpointFolder(tmp_path, SavingConfig(keep=2, best=1, background=background), alone("cpu"))
    for step, score in ((1, 0.9), (2, 0.1), (3, 0.5), (9, None), (10, None)):
        folder.save(step, {"model/x": torch.full((2,), float(step))}, {"score": score})
    folder.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in (2, 9, 10)]
    newest = newest_checkpoint(tmp_path)
    assert read_state(newest)["step"] == 10 and stored_tensors(newest)["model/x"].tolist() == [10, 10]
    assert best_checkpoint(tmp_path).name == "step-00000002"


def test_a_checkpoint_holds_what_was_there_when_it_began(tmp_path: Path) -> None:
    folder, x = CheckpointFolder(tmp_path, SavingConfig(), alone("cpu")), torch.ones(1000, 1000)
    folder.save(1, {"model/x": x}, {})
    x.zero_()
    folder.finish()
    assert stored_tensors(newest_checkpoint(tmp_path))["model/x"].mean() == 1


def test_batches_of_any_structure_reach_the_device() -> None:
    batch = {"a": torch.zeros(1), "b": [torch.zeros(2), "name"], "c": (1, torch.zeros(3))}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"].is_meta and moved["b"][0].is_meta and moved["b"][1] == "name" and moved["c"][1].is_meta
