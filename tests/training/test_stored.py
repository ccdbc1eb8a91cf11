"""Checkpoints on disk: damage is found by content, named, and passed over; a run that is taken up logs the same."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from anymodal.data.jobs.receipts import checksum
from anymodal.errors import AnymodalError, CheckpointError, DataError
from anymodal.nn.distributed import alone
from anymodal.training import stored
from anymodal.training.checkpoint import CheckpointFolder, SavingConfig, claimed
from anymodal.training.engine import Engine
from anymodal.training.log import read_log
from anymodal.training.runtime import Runtime
from anymodal.training.schedules import CosineSchedule
from anymodal.training.settings import TrainingSettings
from anymodal.training.stored import newest_checkpoint, read_state, what_is_damaged, write_state

STEPS = {"steps": 6, "batch_size": 2, "lr": 1e-2, "save_every": 2, "log_every": 3, "precision": "float32"}
SAVING = SavingConfig(keep=2, background=False)


def engine(out: Path, saving: SavingConfig = SAVING, **changes: Any) -> Engine[nn.Linear]:
    torch.manual_seed(0)
    schedule = CosineSchedule(warmup_steps=1)
    return Engine(
        nn.Linear(4, 2),
        TrainingSettings(**{**STEPS, **changes}, schedule=schedule),
        out,
        Runtime(device="cpu", saving=saving),
    )


def batches(number: int, end: int = 1000) -> Iterator[Tensor]:
    for k in range(number, end):
        yield torch.randn(2, 4, generator=torch.Generator().manual_seed(k))


def loss(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    return {"loss": (model(batch) ** 2).mean()}


def stopped(out: Path, end: int, **changes: Any) -> None:
    """A run that ends after some steps as if it had been killed."""
    with pytest.raises(DataError, match="the batches ended"):
        engine(out, **changes).run(lambda n: batches(n, end), loss)


def resumed(out: Path, **changes: Any) -> dict[str, Tensor]:
    again = engine(out, **changes)
    again.run(batches, loss, resume=True)
    return again.weights()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return resumed(tmp_path_factory.mktemp("whole"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("place", [-2, 12, 3], ids=["weights", "header", "length"])
def test_a_flipped_bit_is_named_and_the_older_one_is_taken(
    place: int, whole: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(tmp_path, 5)
    shard = tmp_path / "checkpoints/step-00000004/shard-00001.safetensors"
    flip(shard, place)
    with caplog.at_level(logging.WARNING):
        weights = resumed(tmp_path)
    assert all(torch.equal(whole[name], weights[name]) for name in whole)
    assert "step-00000004 is damaged: the content of shard-00001.safetensors" in caplog.text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_a_state_goes_unnoticed(data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "step-00000003"
    folder.mkdir(exist_ok=True)
    (folder / "a.safetensors").write_bytes(b"123456789")
    write_state(
        folder,
        {"step": 3, "settings": {"lr": 0.1}, "score": 0.5},
        {"a.safetensors": checksum([folder / "a.safetensors"])},
    )
    before, file = read_state(folder), folder / "state.json"
    text = bytearray(file.read_bytes())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(text)
    try:
        assert read_state(folder) == before, "another space between two words"
    except CheckpointError as error:
        assert str(folder) in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("files", {"a\0": 1}),
        ("files", {"../x": {"size": 1, "sha256": "0" * 64}}),
        ("files", []),
        ("step", -1),
        ("step", 3),
        ("progress", {"step": -1}),
        ("progress", {"skipped": 10**400}),
        ("settings", []),
        ("fingerprint", None),
        ("score", "low"),
        ("means", {"loss": 3}),
        ("means", {"loss": [1.0, -1]}),
        ("sha256", None),
    ],
)
def test_fields_are_checked_and_named(name: str, value: Any, tmp_path: Path) -> None:
    stopped(tmp_path, 3)
    path = tmp_path / "checkpoints/step-00000002"
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, name: value}))
    with pytest.raises(CheckpointError, match=f"{path} is damaged: '{name}' of state.json"):
        read_state(path)
    with (
        pytest.raises(CheckpointError, match=rf"no older one is left.*'{name}' of state.json"),
        claimed(tmp_path, alone(), True),
    ):
        pass


@pytest.mark.parametrize("depth", [80, 900, 100_000])
def test_a_state_that_is_nested_too_deeply_is_passed_over(depth: int, tmp_path: Path) -> None:
    stopped(tmp_path, 5)
    nested = "[" * depth + "]" * depth
    state = tmp_path / "checkpoints/step-00000004/state.json"
    state.write_text(f'{{"settings": {{"a": {nested}}}}}')
    assert "nested too deeply" in what_is_damaged(state.parent)
    assert newest_checkpoint(state.parent.parent).name == "step-00000002"


@pytest.mark.parametrize(
    "config", [SavingConfig(keep=1, best=1, background=False), SavingConfig(keep=1, background=False)]
)
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-5]), lambda path: flip(path, -1)])
def test_damaged_checkpoints_do_not_count_as_kept(
    config: SavingConfig, damage: Callable[[Path], Any], tmp_path: Path
) -> None:
    tensors, best = {"model/w": torch.ones(4)}, config.best > 0
    first = CheckpointFolder(tmp_path, SAVING, alone("cpu"))
    first.save(10, tensors, {"score": 0.1 if best else None})
    first.save(40, tensors, {"score": None})
    damage(tmp_path / "step-00000040/shard-00001.safetensors")
    assert newest_checkpoint(tmp_path).name == "step-00000010"
    again = CheckpointFolder(tmp_path, config, alone("cpu"))
    for step in (20, 30):
        again.save(step, tensors, {"score": 0.2 if best else None})
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000030", *(["step-00000010"] if best else [])}


def test_a_run_on_a_full_disk_goes_on_with_fewer_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path, 5)
    folder = tmp_path / "checkpoints"
    (folder / ".partial").mkdir()
    (folder / ".partial/shard-00001.safetensors").write_bytes(b"half")

    def write(*arguments: Any) -> None:
        if len(stored.finished(folder)) > 1 or (folder / ".partial/shard-00001.safetensors").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(*arguments)

    monkeypatch.setattr("anymodal.training.checkpoint.save_file", write)
    with pytest.raises(CheckpointError, match=r"No space left on device; the last good one is .*step-00000004"):
        resumed(tmp_path)
    resumed(tmp_path, saving=SavingConfig(keep=1, background=False))
    assert [path.name for path in folder.iterdir()] == ["step-00000006"]


def test_a_run_that_is_taken_up_keeps_the_best_checkpoint(tmp_path: Path) -> None:
    tensors = {"model/w": torch.ones(4)}
    for step, score in ((10, 0.1), (20, 0.3), (30, 0.2)):
        CheckpointFolder(tmp_path, SavingConfig(keep=3, background=False), alone("cpu")).save(
            step, tensors, {"score": score}
        )
    CheckpointFolder(tmp_path, SavingConfig(keep=1, best=1), alone("cpu")).make_room()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000030"]


def test_a_checkpoint_that_is_written_anew_is_given_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, SAVING, alone("cpu"))
    folder.save(1, {"model/w": torch.ones(4)}, {})
    (tmp_path / ".replaced").mkdir()
    (tmp_path / "step-00000001").rename(tmp_path / ".replaced/step-00000001")
    CheckpointFolder(tmp_path, SAVING, alone("cpu"))
    assert newest_checkpoint(tmp_path).name == "step-00000001"


def test_contents_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CheckpointFolder(tmp_path, SAVING, alone("cpu")).save(1, {"model/w": torch.ones(4)}, {})
    monkeypatch.setattr(stored, "MOMENT", 0.0)
    assert newest_checkpoint(tmp_path)
    monkeypatch.setattr(stored, "_other_content", lambda *_: "read again")
    assert newest_checkpoint(tmp_path)
    shard = tmp_path / "step-00000001/shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes())
    assert not newest_checkpoint(tmp_path), "a file that was touched is not read again"


@pytest.mark.parametrize("end", [3, 5])
def test_a_resumed_run_logs_the_lines_of_an_uninterrupted_one(end: int, tmp_path: Path) -> None:
    for out in ("whole", "parts"):
        if out == "parts":
            stopped(tmp_path / out, end)
        resumed(tmp_path / out)
    lines = [
        [
            {key: record[key] for key in ("step", "loss", "gradient_norm", "lr")}
            for record in read_log(tmp_path / out / "log.jsonl")
        ]
        for out in ("whole", "parts")
    ]
    assert lines[0] == lines[1] and [line["step"] for line in lines[0]] == [3, 6]


def test_steps_skipped_in_a_row_are_counted_on(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": model(batch).sum() * float("nan")}

    with pytest.raises(DataError):
        engine(tmp_path, steps=50).run(lambda n: batches(n, 12), broken)
    with pytest.raises(AnymodalError, match="up to step 20 "):
        engine(tmp_path, steps=50).run(batches, broken, resume=True)


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "seconds": "x"}',
        b'{"step": 2, "seconds": null}',
        b'{"step": 2, "seconds": 1' + b"0" * 400 + b"}",
        b'{"step": 2, "seconds": Infinity}',
        b'{"step": -1}',
        b'{"step": true}',
        b'{"step": 1, "loss": {"a": 1}}',
        b'{"step": 1, "loss": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\x00",
        b"x" * 200_000,
    ],
)
def test_damaged_lines_of_a_log_are_no_reason_to_stop(line: bytes, tmp_path: Path) -> None:
    stopped(tmp_path, 5)
    log = tmp_path / "log.jsonl"
    log.write_bytes(line + b"\n" + log.read_bytes())
    resumed(tmp_path)
    assert [record["step"] for record in read_log(log) if "loss" in record] == [3, 6]


def test_problems_past_the_step_are_dropped(tmp_path: Path) -> None:
    stopped(tmp_path, 5)
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"step": step, "problem": "x"}) + "\n" for step in (2, 4, 5)))
    resumed(tmp_path)
    assert [record["step"] for record in read_log(problems)] == [2, 4]
