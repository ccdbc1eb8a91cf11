"""`anymodal generate`: what it writes, and one line with exit code 2 for everything a user can get wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from small_runs import command

import anymodal as am
from anymodal import anymodel
from anymodal.cli.checks import Known
from anymodal.cli.inputs import parse_inputs
from anymodal.plugins.registry import Registry, use


@pytest.fixture
def photo(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(picture).save(path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = command("generate", *arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_everything_is_written_in_natural_formats(capsys, checkpoint, photo, tmp_path):
    out = tmp_path / "out"
    code, said, _ = run(capsys, f"rgb={photo}", "--to", "all", "--model", checkpoint, "--out", out, "--json")
    assert code == 0
    report = json.loads(said)
    assert {p.name for p in (out / "inputs").iterdir()} == {"rgb.png"}
    assert {p.name for p in out.iterdir()} == {
        *(f"{name}.png" for name in ("depth", "normal", "semseg", "canny_edge", "grid")),
        "caption.txt", "color_palette.json", "tokens.safetensors", "values.safetensors", "run.json", "inputs",
        "depth.view.png", "semseg.view.png",
    }  # fmt: skip
    with Image.open(out / "depth.png") as depth, Image.open(out / "grid.png") as grid:
        assert depth.mode.startswith("I") and depth.size == (32, 32) and grid.width > 1000
    assert set(load_file(out / "tokens.safetensors")) == set(report["values"])
    assert (out / "caption.txt").read_text().strip() == report["values"]["caption"]


def test_outputs_take_the_place_of_those_before_and_of_nothing_else(capsys, checkpoint, photo, tmp_path):
    out = tmp_path / "out"
    run(capsys, f"rgb={photo}", "caption=a cat", "--to", "depth,normal", "--model", checkpoint, "--out", out)
    for name in ("notes.txt", "color_palette.json", "notes.view.png", "inputs/other.png"):
        (out / name).write_text("mine")
    assert (out / "depth.view.png").is_file() and (out / "inputs/caption.txt").is_file()
    assert run(capsys, f"rgb={photo}", "--to", "semseg", "--model", checkpoint, "--out", out)[0] == 0
    mine = {"notes.txt", "color_palette.json", "notes.view.png", "inputs/other.png"}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "semseg.png", "semseg.view.png", "inputs/rgb.png", "grid.png", "tokens.safetensors", "run.json", *mine,
    }  # fmt: skip
    assert all((out / name).read_text() == "mine" for name in mine)


def test_outputs_that_are_an_input_are_not_replaced(capsys, checkpoint, photo, tmp_path):
    out, made = tmp_path / "out", tmp_path / "out" / "depth.png"
    run(capsys, f"rgb={photo}", "--to", "depth", "--model", checkpoint, "--out", out)
    code, _, said = run(capsys, f"depth={made}", "--to", "normal", "--model", checkpoint, "--out", out)
    assert code == 2 and f"{made} is of the outputs in {out}" in said and "choose another folder for --out" in said
    assert made.is_file() and run(capsys, f"depth={made}", "--to", "normal", "--model", checkpoint)[0] == 0


@pytest.mark.parametrize("record", ["manifest.json", ".jobs", "config.json"])
def test_outputs_are_not_mixed_with_a_dataset_or_a_model(capsys, checkpoint, photo, tmp_path, record):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / record).write_text("{}")
    words = [f"rgb={photo}", "--to", "depth", "--model", checkpoint, "--out", tmp_path / "out"]
    code, _, said = run(capsys, *words)
    assert code == 2 and f"holds a dataset or a model ({record}); choose another folder for --out" in said


def test_what_was_written_is_named_by_where_it_lies(capsys, checkpoint, photo, tmp_path):
    out = tmp_path / "out"
    _, said, _ = run(capsys, f"rgb={photo}", "--to", "depth", "--model", checkpoint, "--out", out)
    files = re.search(r"^wrote (.+) to ", said, re.MULTILINE)[1].split(", ")
    assert "inputs/rgb.png" in files and all((out / file).is_file() for file in files)


def test_the_same_seed_gives_the_same_files(capsys, checkpoint, photo, tmp_path):
    for name in ("a", "b"):
        arguments = (
            f"rgb={photo}",
            "--to",
            "depth,caption",
            "--model",
            checkpoint,
            "--seed",
            3,
            "--set",
            "depth.steps=3",
        )
        assert run(capsys, *arguments, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / "a" / "depth.png").read_bytes() == (tmp_path / "b" / "depth.png").read_bytes()
    assert (tmp_path / "a" / "caption.txt").read_text() == (tmp_path / "b" / "caption.txt").read_text()


def test_targets_apart_are_those_of_the_inputs_alone_and_are_repeated_so(capsys, checkpoint, photo, tmp_path):
    out, common = tmp_path / "out", (f"rgb={photo}", "--model", checkpoint, "--seed", 3)
    assert run(capsys, *common, "--to", "depth,caption", "--no-chain", "--out", out)[0] == 0
    assert run(capsys, *common, "--to", "caption", "--out", tmp_path / "alone")[0] == 0
    assert (out / "caption.txt").read_text() == (tmp_path / "alone" / "caption.txt").read_text()
    assert command("repeat", out) == 0


def test_text_is_text_and_a_text_file_is_read(capsys, checkpoint, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("a red car\n")
    outputs = [
        run(
            capsys,
            f"caption={value}",
            "--to",
            "color_palette",
            "--model",
            checkpoint,
            "--json",
            "--out",
            tmp_path / name,
        )
        for name, value in (("a", "a red car"), ("b", note))
    ]
    assert all(code == 0 for code, _, _ in outputs)
    assert (tmp_path / "a" / "color_palette.json").read_text() == (tmp_path / "b" / "color_palette.json").read_text()


def test_a_class_of_its_own_that_says_it_is_text_is_given_as_text():
    """By `is_text`, of whatever family it calls itself."""
    cls = type("Verse", (am.TextModality,), {"name": "verse", "family": "poems"})
    with use(Registry()) as plugins:
        plugins.add(cls)
        known = Known("tiny", ["verse"], False)
        assert parse_inputs(["verse=a red car"], known, folder_wanted=False).values == {"verse": "a red car"}


def wrong(tmp_path: Path, photo: Path) -> dict[str, tuple[list[str], str]]:
    """Arguments and words of the error, by what is wrong."""
    text, cut, file = tmp_path / "text.jpg", tmp_path / "cut.jpg", tmp_path / "file"
    text.write_text("no picture")
    Image.effect_noise((200, 200), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:5000])
    file.write_text("kept")
    ok = f"rgb={photo}"
    return {
        "missing file": (["rgb=missing.jpg", "--to", "depth"], "no such file: missing.jpg"),
        "text as picture": ([f"rgb={text}", "--to", "depth"], "not a picture"),
        "truncated picture": ([f"rgb={cut}", "--to", "depth"], "cut short"),
        "unknown input": ([f"rbg={photo}", "--to", "depth"], "did you mean 'rgb'"),
        "unknown target": ([ok, "--to", "dpeth"], "did you mean 'depth'"),
        "input as target": ([ok, "--to", "rgb"], "both an input and a target"),
        "no target": ([ok, "--to", ","], "names no modality"),
        "no pair": (["photo.jpg", "--to", "depth"], "NAME=VALUE"),
        "unquoted text": (["caption=a", "red", "car", "--to", "rgb"], 'caption="a red"'),
        "twice": ([ok, ok, "--to", "depth"], "twice"),
        "empty text": (["caption=", "--to", "depth"], "caption is empty"),
        "unknown option": ([ok, "--to", "depth", "--set", "depth.stpes=4"], "did you mean 'steps'"),
        "option without target": ([ok, "--to", "depth", "--set", "normal.steps=4"], "not a target"),
        "option without value": ([ok, "--to", "depth", "--set", "depth"], "NAME.OPTION=VALUE"),
        "wrong value": ([ok, "--to", "depth", "--set", "depth.steps=many"], "whole number"),
        "unknown model": ([ok, "--to", "depth", "--model", "nothing-like-it"], "neither a preset nor a folder"),
        "a file as folder": ([ok, "--to", "depth", "--out", str(file)], "is not a folder"),
        "below a file": ([ok, "--to", "depth", "--out", str(file / "out")], "is not a folder"),
    }


CASES = (
    "missing file",
    "text as picture",
    "truncated picture",
    "unknown input",
    "unknown target",
    "input as target",
    "no target",
    "no pair",
    "unquoted text",
    "twice",
    "empty text",
    "unknown option",
    "option without target",
    "option without value",
    "wrong value",
    "unknown model",
    "a file as folder",
    "below a file",
)


@pytest.mark.parametrize("case", CASES)
def test_mistakes_are_one_line_and_exit_code_2(capsys, checkpoint, photo, tmp_path, case):
    cases = wrong(tmp_path, photo)
    assert tuple(cases) == CASES
    arguments, words = cases[case]
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(checkpoint)]
    code, said, complaint = run(capsys, *arguments)
    assert code == 2 and said == ""
    assert complaint.startswith("error: ") and complaint.count("\n") == 1 and words in complaint
    assert (tmp_path / "file").read_text() == "kept" and not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_the_work(capsys, checkpoint, photo, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    code, _, complaint = run(capsys, f"rgb={photo}", "--to", "depth", "--model", checkpoint, "--out", closed / "out")
    assert code == 2 and "no permission" in complaint


def test_only_the_modalities_of_a_request_are_loaded_and_nothing_changes_by_that(
    capsys, checkpoint, photo, tmp_path, monkeypatch
):
    asked = []
    real = anymodel.load
    monkeypatch.setattr(anymodel, "load", lambda name, **options: asked.append(options) or real(name, **options))
    common = [f"rgb={photo}", "--model", checkpoint, "--seed", 3, "--set", "depth.steps=3"]
    assert run(capsys, *common, "--to", "depth", "--out", tmp_path / "a")[0] == 0
    everything = ["rgb", "depth", "normal", "semseg", "canny_edge", "caption", "color_palette"]
    chosen = ["--modalities", ",".join(everything)]
    assert run(capsys, *common, *chosen, "--to", "depth", "--out", tmp_path / "b")[0] == 0
    assert run(capsys, *common, "--to", "all")[0] == 0
    assert [options["modalities"] for options in asked] == [["rgb", "depth"], everything, None]
    for name in ("depth.png", "tokens.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_one_request_imports_no_compiler_and_only_the_plugins_and_drivers_it_needs(checkpoint, photo, tmp_path):
    """What takes the time of the start, counted: modules beyond those of PyTorch itself."""
    arguments = [
        "generate",
        f"rgb={photo}",
        "--to",
        "caption",
        "--model",
        str(checkpoint),
        "--out",
        str(tmp_path / "o"),
    ]
    script = (
        "import sys, torch\nbefore = set(sys.modules)\nfrom anymodal.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        "print('\\n'.join(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    new = done.stderr.split("\n")
    assert {name for name in new if name.startswith("anymodal_") and "." not in name} == {
        "anymodal_rgb",
        "anymodal_caption",
    }
    assert {name for name in new if name.startswith("torch")} <= {"torch.utils._device"}
    assert sum(name.startswith("PIL.") for name in new) < 40
    assert not {"rich", "pandas", "transformers", "scipy", "matplotlib"} & set(new)
