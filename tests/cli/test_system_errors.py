"""What the system refuses, such as files that may not be read, ends in one sentence that names the path, and code 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from datasets_made import write_pictures
from small_runs import STEPS, model_config, write_yaml
from unprivileged import unprivileged

import anymodal as am
from anymodal.checkpoints.convert import convert
from anymodal.cli.main import main
from anymodal.data.jobs.label import label_dataset
from anymodal.errors import AnymodalError


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A dataset, and a folder that nobody may look into, with a dataset in it."""
    write_pictures(tmp_path / "data", 3)
    shutil.copytree(tmp_path / "data", tmp_path / "locked/data")
    (tmp_path / "locked").chmod(0)
    with unprivileged():
        yield tmp_path
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


NAMES = ["generate", "check", "label", "convert", "train", "train-tokenizer", "vocabulary", "tokenize", "scenes"]


def commands(place: Path, data: Path, out: Path) -> dict[str, list[object]]:
    training = {**STEPS, "steps": 1}
    components = [{"inputs": {"rgb": 1}, "targets": {"rgb": 1}}]
    config = model_config(place / "c.yaml", {"rgb": {}}, components, training=training, data=str(data))
    small = {"encoder": {"dim": 8, "depth": 1, "heads": 1}, "decoder": {"dim": 8, "depth": 1, "heads": 1}}
    settings = {"size": 32, "patch": 16, "codebook": 8, "latent": 4}
    learn = write_yaml(place / "t.yaml", modality="rgb", data=str(data), training=training, settings=settings, **small)
    learn_words = write_yaml(place / "w.yaml", modality="caption", data=str(data), vocabulary={"size": 4600})
    return {
        "generate": ["generate", f"rgb={data}/rgb/0000.png", "--to", "depth", "--out", out],
        "check": ["data", "check", data, "--sheet", out / "sheet.png"],
        "label": ["label", data, "--with", "color_palette", "--out", out, "--workers", 1],
        "convert": ["convert", data, out],
        "train": ["train", config, "--out", out],
        "train-tokenizer": ["train-tokenizer", learn, "--out", out],
        "vocabulary": ["train-tokenizer", learn_words, "--out", out],
        "tokenize": ["tokenize", data, "--config", config, "--out", out, "--workers", 1],
        "scenes": ["scenes", "--count", 1, "--size", 16, "--workers", 1, "--out", out],
    }


@pytest.mark.parametrize("name", NAMES)
def test_folders_that_may_not_be_searched_or_written(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "kept").mkdir(mode=0o500)
    tried = [("locked/data", "new"), ("data", "locked/out"), ("data", "kept"), ("data", "kept/out")]
    for data, out in tried[name == "scenes" :]:  # which read nothing
        code = run(*commands(place, place / data, place / out)[name])
        said = capsys.readouterr().err
        assert code == 2 and f"\n{said}".count("\nerror: ") == 1, (out, code, said)
        assert "Traceback" not in said and str(place) in said, said


def test_an_error_of_the_system_that_nobody_awaits(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        (place / "locked" / "x").open()

    monkeypatch.setattr(import_module("anymodal.checkpoints.convert"), "convert", refuse)
    (place / "weights.safetensors").touch()
    assert run("convert", place / "weights.safetensors", place / "there") == 2
    assert capsys.readouterr().err == f"error: cannot use {place}/locked/x: Permission denied\n"


def _of_python() -> None:
    raise MemoryError


@pytest.mark.parametrize("ask", [_of_python, lambda: torch.empty(10**15), lambda: numpy.empty(10**15)])
def test_a_lack_of_memory_says_what_to_do(
    ask: Callable[[], object], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("anymodal.checkpoints.convert"), "convert", lambda *_: ask())
    (tmp_path / "weights.safetensors").touch()
    assert run("convert", tmp_path / "weights.safetensors", tmp_path / "there") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: there is not enough memory (") and said.count("\n") == 1
    assert said.endswith("); ask for less at once, such as smaller batches\n")


@pytest.mark.parametrize(
    "function",
    [
        lambda place: label_dataset(str(place / "locked/data"), {"color_palette": None}, place / "l", workers=1),
        lambda place: am.check_dataset(place / "locked/data"),
        lambda place: convert(place / "locked/data", place / "c"),
        lambda place: am.load("tiny", modalities=["rgb", "depth"]).save_pretrained(place / "locked/m"),
    ],
)
def test_functions_raise_one_of_ours(function: Callable[[Path], Any], place: Path) -> None:
    with pytest.raises(AnymodalError, match=str(place / "locked")):
        function(place)
