"""What is wrong with a command is told before torch is imported, in every command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command_tree import leaves
from small_runs import ALONE, MODEL, STEPS, write_yaml

from anymodal.cli.main import COMMANDS, Commands
from anymodal.plugins.registry import registry

RUNNER = """
import contextlib, io, json, sys
from anymodal.cli.main import main

found = []
for words in json.loads(sys.argv[1]):
    said, code = io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code
    found.append([code, said.getvalue(), "torch" in sys.modules])
print(json.dumps(found))
"""
CASES = [
    (["app", "--model", "tniy", "--no-open"], "did you mean 'tiny'"),
    (["generate", "rgb=nosuch.jpg", "--to", "depth"], "no such file: nosuch.jpg"),
    (["generate", "nosuch/*.jpg", "--to", "depth", "--out", "out"], "has no files"),
    (["generate", "rgb=text.jpg", "--to", "depth"], "not a picture"),
    (["generate", "rgb=nosuch.jpg", "--to", "depth", "--model", "4m-21-b"], "no such file: nosuch.jpg"),
    (["generate", "rbg=good.png", "--to", "depth"], "did you mean 'rgb'"),
    (["generate", "rgb=good.png", "--to", "dpeth"], "did you mean 'depth'"),
    (["generate", "rgb=good.png", "--to", "dpeth", "--model", "4m-21-b"], "did you mean 'depth'"),
    (["generate", "rgb=good.png", "--to", "depth", "--model", "tniy"], "did you mean 'tiny'"),
    (["generate", "rgb=good.png", "--to", "depth", "--set", "depth.stpes=4"], "did you mean 'steps'"),
    (["generate", "rgb=good.png", "--to", "depth", "--set", "depth.steps=4", "--set", "depth.steps=5"], "twice"),
    (["generate", "rgb=good.png", "--to", "depth", "--temperature", "-1"], "temperature"),
    (["generate", "rgb=good.png", "--to", "depth", "--device", "my gpu"], "is no device"),
    (["generate", "rgb=good.png", "--to", "depth", "--dtype", "float8"], "float8"),
    (["generate", "rgb=good.png", "--to", "depth", "--out", "text.jpg"], "is not a folder"),
    (["generate", "rgb=good.png", "--to", "rgb", "--keep", "rgb=nosuch.png"], "no such file: nosuch.png"),
    (["generate", "rgb=good.png", "--to", "depth", "--keep", "caption"], "--keep names 'caption', which is not an"),
    (["generate", "rgb=good.png", "--to", "depth", "--weights", "rbg=2"], "did you mean 'rgb'"),
    (["generate", "rgb=good.png", "--to", "depth", "--weights", "rgb=2", "--guidance", "3"], "leave out one of them"),
    (["generate", "pictures/rgb", "--to", "depth", "--out", "pictures"], "holds other things (rgb)"),
    (["generate", "rgb=good.png", "--to", "all,-det", "--start", "det={}"], "--start names 'det', which is not a"),
    (["generate", "rgb=good.png", "--to", "det", "--start", "det={a"], "--start det={a cannot be read: "),
    (["generate", "rgb=good.png", "--to", "caption", "--start", "a red"], "NAME=VALUE, such as caption='a red'"),
    (["train", "nosuch.yaml", "--out", "out"], "no such file: nosuch.yaml"),
    (["train", "broken.yaml", "--out", "out"], "broken.yaml"),
    (["train", "misspelled.yaml", "--out", "out"], "did you mean 'steps'"),
    (["train", "homeless.yaml", "--out", "out"], "nosuch"),
    (["train", "good.yaml", "--out", "text.jpg"], "is not a folder"),
    (["train", "good.yaml", "--out", "out", "--set", "training.lr=fast"], "lr"),
    (["train", "good.yaml", "--world", "4", "--out", "out"], "--world is a number that --dry-run plans for"),
    (["train", "good.yaml", "--print-config", "--dry-run"], "give one of them"),
    (["train-tokenizer", "nosuch.yaml", "--out", "out"], "no such file: nosuch.yaml"),
    (["train-tokenizer", "good.yaml", "--out", "out"], "is for `anymodal train`"),
    (["train-tokenizer", "tokenizer.yaml", "--out", "out"], "no such folder: nosuch"),
    (["train-tokenizer", "tokenizer.yaml", "--out", "out", "--set", "modality=dpeth"], "did you mean 'depth'"),
    (["train-teacher", "nosuch.yaml", "--out", "out"], "no such file: nosuch.yaml"),
    (["train-teacher", "teacher.yaml", "--out", "out"], "no such folder: nosuch"),
    (["tokenize", "nosuch", "--config", "good.yaml", "--out", "out"], "no such folder: nosuch"),
    (["tokenize", "pictures", "--config", "nosuch.yaml", "--out", "out"], "no such file: nosuch.yaml"),
    (["tokenize", "pictures", "--config", "good.yaml", "--out", "pictures"], "holds other things (rgb)"),
    (["tokenize", "pictures", "--config", "good.yaml", "--out", "out", "--flip"], "--crops"),
    (["tokenize", "pictures", "--config", "good.yaml", "--out", "out", "--ratio", "1,1"], "--ratio is of crops but"),
    (["tokenize", "pictures", "--config", "good.yaml", "--out", "out", "--crops", "2", "--ratio", "2,1"], "and 2,1"),
    (["label", "nosuch", "--with", "canny_edge", "--out", "out"], "no such folder: nosuch"),
    (["label", "pictures", "--with", "cany_edge", "--out", "out"], "did you mean 'canny_edge'"),
    (["label", "pictures", "--with", "tniy:depth", "--out", "out"], "did you mean 'tiny'"),
    (["label", "pictures", "--with", "tiny:dpeth", "--out", "out"], "did you mean 'depth'"),
    (["label", "pictures", "--with", "canny_edge", "--out", "pictures"], "holds other things (rgb)"),
    (["label", "pictures", "--with", "canny_edge", "--with", "canny_edge", "--out", "out"], "twice"),
    (["label", "empty", "--with", "canny_edge", "--out", "out"], "has no pictures"),
    (["label", "pictures", "--with", "canny_edge", "--executor", "locl", "--out", "out"], "did you mean 'local'"),
    (["label", "pictures", "--with", "canny_edge", "--set", "depth.high=2", "--out", "out"], "is not made"),
    (["data", "check", "nosuch"], "no such folder: nosuch"),
    (["data", "check", "pictures", "--config", "misspelled.yaml"], "did you mean 'steps'"),
    (["data", "check", "pictures", "--set", "a=1"], "name one with --config"),
    (["data", "check", "pictures", "--name", "rgb=a", "--name", "rgb=b"], "twice"),
    (["data", "check", "empty"], "has no folder"),
    (["convert", "nosuch", "there"], "no such file or folder: nosuch"),
    (["convert", "empty", "there"], "config.json"),
    (["convert", "pictures", "there", "--to", "forum"], "did you mean 'fourm'"),
    (["eval", "dpeth", "pictures"], "did you mean 'depth'"),
    (["eval", "depth", "nosuch"], "no such folder: nosuch"),
    (["eval", "depth", "pictures", "--option", "name=semseg"], "names another"),
    (["eval", "depth", "pictures", "--from", "rbg"], "did you mean 'rgb'"),
    (["eval", "depth", "pictures", "--from", "depth"], "both an input and the target"),
    (["eval", "depth", "pictures", "--samples", "3", "--set", "samples=5"], "say the same"),
    (["eval", "depth", "pictures", "--from", "rgb", "--option", "inputs=[rgb]"], "say the same"),
    (["eval", "depth", "pictures", "--set", "stpes=3"], "did you mean 'steps'"),
    (
        ["eval", "depth", "pictures", "--set", "steps"],
        "'steps' is not a sampling option of the form NAME=VALUE",
    ),
    (["eval", "depth", "pictures", "--set", "steps=["], "the value of 'steps=[' cannot be read: "),
    (["eval", "depth", "pictures", "--option", "inputs={"], "the value of 'inputs={' cannot be read: "),
    (["eval", "depth", "pictures", "--option", "inputs=rgb"], "expected a list, got 'rgb'"),
    (["eval", "depth", "pictures", "--option", "inputs={rgb: 1}"], "expected a list, got {'rgb': 1}"),
    (["eval", "depth", "pictures", "--option", "inputs=[3]"], "inputs must be names, each once"),
    (["eval", "depth", "pictures", "--from", "rgb,rgb"], "inputs must be names, each once"),
    (
        ["eval", "retrieval", "pictures", "--option", "found_by=[rgb, rgb]"],
        "found_by must be names, each once",
    ),
    (["eval", "generation", "pictures", "--option", "inputs=caption"], "expected a list, got 'caption'"),
    (["calibrate", "tniy", "pictures", "--out", "out"], "did you mean 'tiny'"),
    (["calibrate", "tiny", "nosuch", "--out", "out"], "no such folder: nosuch"),
    (["calibrate", "tiny", "pictures", "--out", "out", "--from", "rbg"], "did you mean 'rgb'"),
    (["calibrate", "tiny", "pictures", "--out", "out", "--to", "dpeth"], "did you mean 'depth'"),
    (["calibrate", "tiny", "pictures", "--out", "out", "--to", "rgb"], "both an input and a target"),
    (["calibrate", "tiny", "pictures", "--out", "text.jpg"], "is not a folder"),
    (["generate", "rgb=good.png", "--to", "rgb", "--keep", "rgb=0,{"], "the parts of --keep 'rgb=0,{' cannot be read"),
    (["generate", "rgb=good.png", "--to", "caption", "--truth", "depth=good.png"], "neither an input nor a target"),
    (["generate", "rgb=good.png", "--to", "all,-depth", "--truth", "depth=good.png"], "neither an input nor a target"),
    (["repeat", "nosuch"], "nosuch"),
    (["repeat", "pictures"], "holds no run.json"),
    (["repeat", "pictures", "--out", "good.png/out"], "good.png is not a folder"),
    (["retrieve", "index", "pictures", "--by", "depth", "--out", "out"], "'depth' is not a vector"),
    (["retrieve", "index", "pictures", "--by", "dinov2_global", "--out", "pictures"], "holds other things (rgb)"),
    (["retrieve", "index", "nosuch", "--by", "dinov2_global", "--out", "out"], "no such folder: nosuch"),
    (["retrieve", "index", "pictures", "--by", "dinov2_golbal", "--out", "out"], "did you mean 'dinov2_global'"),
    (["retrieve", "index", "pictures", "--by", "dinov2_global", "--from", "rbg", "--out", "out"], "did you mean 'rgb'"),
    (["retrieve", "query", "empty", "caption=a car"], "holds no index"),
    (["retrieve", "calibrate", "empty", "pictures", "--from", "caption"], "holds no index"),
    (
        ["probe", "pictures", "--to", "depth", "--modalities", "depth,caption"],
        "no photographs; name the inputs by --from",
    ),
    (["probe", "nosuch"], "no such folder: nosuch"),
    (["retrieve", "calibrate", "empty", "pictures", "--from", "caption+"], "--from has 'caption+'; put names on both"),
    (["retrieve", "calibrate", "empty", "pictures", "--from", ","], "--from names no modality"),
    (["probe", "pictures"], "pictures has a folder 'rgb', as a dataset of modalities: say with --to which one"),
    (["probe", "empty"], "has no folder for each of 2 classes"),
    (
        ["probe", "pictures", "--to", "caption"],
        "'caption' is no grid, whose cells could be read off features; such are",
    ),
    (["probe", "pictures", "--to", "dpeth"], "did you mean 'depth'"),
    (["probe", "pictures", "--head", "linaer"], "linear"),
    (["modalities", "dpeth"], "did you mean 'depth'"),
    (["models", "--nosuch"], "--nosuch"),
    (["doctor", "--timeout", "never"], "never"),
    (["plugin", "new", "Bad Name"], "Bad Name"),
    (["plugin", "new", "good", "--family", "imgae"], "'imgae' is not one of"),
    (["plugin", "check", "dpeth"], "dpeth"),
    (["plugin", "install", "./nosuch"], "no folder with a pyproject.toml"),
    (["plugin", "install", "nosuch.whl"], "no such file: nosuch.whl"),
    (["plugin", "search", "--nosuch"], "--nosuch"),
    (["scenes", "--count", "1", "--out", "text.jpg"], "text.jpg"),
    (["recipes", "copy", "tniy"], "tniy"),
    (["samples", "--nosuch"], "--nosuch"),
    (["export", "--nosuch"], "--nosuch"),
    (["export", "tiny", "--onnx", "graphs", "--modalities", "dpeth"], "dpeth"),
    (["transfer", "nosuch.yaml", "--out", "out"], "no such file: nosuch.yaml"),
    (["transfer", "transfer.yaml", "--out", "out"], "no such folder: nosuch"),
    (["transfer", "transfer.yaml", "--out", "out", "--set", "task.name=dnese"], "did you mean 'dense'"),
    (["nosuch"], "no command 'nosuch'"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> list[tuple[int, str, bool]]:
    """The exit code of every case, what it said, and whether torch was imported by then; all in one process."""
    work = tmp_path_factory.mktemp("work")
    for folder in ("empty", "pictures/rgb"):
        (work / folder).mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (32, 32)).save(work / "good.png")
    Image.new("RGB", (32, 32)).save(work / "pictures/rgb/0.png")
    (work / "text.jpg").write_text("no picture")
    (work / "broken.yaml").write_text("modalities: [")
    component = {"inputs": {"rgb": 1}, "targets": {"depth": 1}}
    masking = {"input_tokens": 8, "target_tokens": 8, "components": [component]}
    good = {"tokenizers": "empty", "data": "pictures", "model": MODEL, "masking": masking, "training": STEPS}
    modalities = {"rgb": {}, "depth": {}}
    write_yaml(work / "good.yaml", modalities=modalities, **good)
    wrong = {key: value for key, value in STEPS.items() if key != "steps"}
    write_yaml(work / "misspelled.yaml", modalities=modalities, **{**good, "training": {**wrong, "stepps": 2}})
    write_yaml(work / "homeless.yaml", modalities=modalities, **{**good, "data": "nosuch"})
    write_yaml(work / "tokenizer.yaml", modality="depth", data="nosuch", training=STEPS)
    teacher = {"objective": "distillation", "tower": {}, "training": STEPS, "modalities": {"rgb": {}}}
    write_yaml(work / "teacher.yaml", data="nosuch", **teacher)
    write_yaml(
        work / "transfer.yaml",
        model="tiny",
        data="nosuch",
        inputs=["rgb"],
        task={"name": "dense", "to": "depth"},
        training=STEPS,
    )
    words = json.dumps([words for words, _ in CASES])
    ran = subprocess.run(
        [sys.executable, "-c", RUNNER, words], cwd=work, env=ALONE, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    left = {path.name for path in Path(work).iterdir()}
    assert not left & {"out", "there", "good", "bad_name"}
    return [tuple(each) for each in json.loads(ran.stdout)]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join(words) for words, _ in CASES])
def test_mistakes_are_told_before_torch_is_imported(told, number):
    code, said, heavy = told[number]
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1 and CASES[number][1] in said
    assert not heavy


def test_every_command_is_tried():
    assert {words[0] for words, _ in CASES} >= {*COMMANDS, *registry().commands()}


def without_anything(words: list[str], command: click.Command) -> list[str]:
    """The command with a name that nothing has wherever it needs one, and a folder to write to."""
    made = list(words)
    for parameter in command.params:
        kind = parameter.type
        value = "1" if isinstance(kind, click.IntRange) else "out" if parameter.name == "out" else "nosuch"
        if isinstance(parameter, click.Argument):
            made.append(value)
        elif parameter.required or parameter.name in ("out", "data"):
            made += [parameter.opts[0], value]
    return made


LISTS = {"models", "plugin list", "plugin search", "recipes list", "samples list"}
WITHOUT_INPUT = LISTS | {"app", "doctor", "plugin new", "samples copy", "scenes"}


def test_every_command_looks_for_what_it_needs_before_torch(tmp_path):
    """Also commands that nobody thought of when the cases above were written."""
    lines = [
        without_anything(*leaf) for leaf in leaves([], Commands("anymodal")) if " ".join(leaf[0]) not in WITHOUT_INPUT
    ]
    assert len(lines) > 15
    environ = {**ALONE, "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(lines)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    for words, (code, said, heavy) in zip(lines, json.loads(done.stdout), strict=True):
        assert code == 2 and not heavy and said.splitlines()[-1].startswith("error: "), (words, said)
    assert not list(tmp_path.iterdir())
