"""`anymodal generate` from many files: what people name, and folders that are the same however often it was killed."""

from __future__ import annotations

import inspect
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import numpy as np
import pytest
from datasets_made import contents, problems, write_pictures
from forked import Forked
from PIL import Image
from small_runs import ALONE, command

import anymodal as am
from anymodal.cli.generate import generate
from anymodal.data.files.values import open_values
from anymodal.outputs.equality import same
from anymodal.plugins.registry import registry
from anymodal.sampling import Sampling
from anymodal.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder of seven pictures, one of them a folder deeper, with something else in it."""
    folder = write_pictures(tmp_path_factory.mktemp("photos"), 7, modalities=("rgb",)) / "rgb"
    (folder / "notes.md").write_text("not a picture")
    (folder / "dogs").mkdir()
    (folder / "0006.png").rename(folder / "dogs/rex.png")
    return folder


NAMES = [*(f"{k:04d}" for k in range(6)), "dogs/rex"]


def generating(checkpoint: Path, out: Path, *words: object) -> list[str]:
    fixed = ["--model", checkpoint, "--out", out, "--batch", 2, "--shard-size", 3, "--workers", 1]
    return ["generate", *map(str, [*words, *fixed])]


@pytest.fixture(scope="module")
def whole(photos, checkpoint, tmp_path_factory) -> Path:
    """What an uninterrupted run makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert command(*generating(checkpoint, out, photos, "--to", "depth,caption", "--seed", 5)) == 0
    return out


def test_the_values_are_those_of_generate_and_the_folder_is_an_aligned_dataset(photos, checkpoint, whole, capsys):
    assert {path.name for path in whole.iterdir() if path.is_dir()} == {"rgb", "depth", "caption"}
    depth = registry().modality("depth")
    made = open_values(whole, [registry().modality("rgb")(), depth(), registry().modality("caption")()])
    assert list(made.names) == NAMES
    model = am.load(checkpoint)
    for index in (1, 6):
        alone = model.generate({"rgb": photos / f"{NAMES[index]}.png"}, ["depth", "caption"], seed=5 + index)
        assert made.read_file("caption", index) == alone["caption"].strip()
        assert np.array_equal(made.read_file("rgb", index), alone.inputs["rgb"])
        assert np.allclose(made.read_file("depth", index), alone["depth"], atol=1e-3)
    assert command("data", "check", whole) == 0 and "no problems" in capsys.readouterr().out


def test_a_second_run_does_nothing_and_a_changed_picture_is_made_again_and_said(
    photos, checkpoint, whole, tmp_path, capsys
):
    copy, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, copy)
    again = generating(checkpoint, out, copy, "--to", "depth,caption", "--seed", 5)
    assert command(*again) == 0 and contents(out).keys() == contents(whole).keys()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.name != ".lock"}
    capsys.readouterr()
    assert command(*again) == 0 and "nothing to do" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    Image.new("RGB", (40, 40), "red").save(copy / "0004.png")
    assert command(*again) == 0
    said = capsys.readouterr()
    assert "made 1 of 3 shards" in said.out and "made again: 1 shard, because files of the data had changed" in said.err
    assert (out / "depth/0001.png").stat().st_mtime_ns == before[out / "depth/0001.png"]
    assert np.asarray(Image.open(out / "rgb/0004.png")).reshape(-1, 3).min(0).tolist() == [255, 0, 0]


def test_targets_are_added_and_other_settings_are_refused(photos, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(*generating(checkpoint, out, photos, "--to", "depth")) == 0
    before = contents(out / "depth")
    assert command(*generating(checkpoint, out, photos, "--to", "depth,caption")) == 0
    assert contents(out / "depth") == before and len(list(out.glob("caption/**/*.txt"))) == 7
    capsys.readouterr()
    assert command(*generating(checkpoint, out, photos, "--to", "depth,caption", "--seed", 1)) == 2
    assert "was made with other settings: caption.seed was 0, is 1" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["pattern", "files", "list", "stdin", "named"])
def test_inputs_are_what_people_have(photos, checkpoint, whole, tmp_path, monkeypatch, form):
    files = [str(path) for path in sorted(photos.rglob("*.png"))]
    (tmp_path / "list.txt").write_text("\n".join([*files, ""]))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(files).encode())))
    words = {
        "pattern": [f"{photos}/**/*.png"],
        "files": files,
        "list": [f"@{tmp_path / 'list.txt'}"],
        "stdin": ["-"],
        "named": [f"rgb={photos}"],
    }
    out = tmp_path / "out"
    assert command(*generating(checkpoint, out, *words[form], "--to", "depth,caption", "--seed", 5)) == 0
    assert contents(out / "depth") == contents(whole / "depth") and contents(out / "caption") == contents(
        whole / "caption"
    )


def test_several_modalities_go_together_by_name_and_one_text_goes_with_all(photos, checkpoint, tmp_path):
    texts = tmp_path / "texts"
    for name in NAMES:
        (texts / f"{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (texts / f"{name}.txt").write_text("a red car on a road")
    both, one = tmp_path / "both", tmp_path / "one"
    assert command(*generating(checkpoint, both, photos, f"caption={texts}", "--to", "depth")) == 0
    assert command(*generating(checkpoint, one, photos, "caption=a red car on a road", "--to", "depth")) == 0
    assert contents(both / "depth") == contents(one / "depth") and contents(both / "caption") == contents(
        one / "caption"
    )


def test_masks_are_found_by_the_names_of_their_pictures(photos, checkpoint, tmp_path, capsys):
    """Each picture keeps what its own mask says; one without a mask is left out, and masks that change count."""
    masks, out = tmp_path / "masks", tmp_path / "out"
    (masks / "dogs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES[1:]:
        with Image.open(photos / f"{name}.png") as picture:
            mask = rng.random((picture.height, picture.width)) < 0.5
        Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{name}.png")
    asked = generating(checkpoint, out, photos, "--to", "rgb", "--keep", f"rgb={masks}", "--max-bad", 0.5)
    assert command(*asked) == 0
    assert sorted(path.stem for path in (out / "rgb").rglob("*.png")) == [*(f"{k:04d}" for k in range(1, 6)), "rex"]
    assert len(problems(out)) == 1 and "no mask of 'rgb'" in str(problems(out)[0]) and "0000" in str(problems(out)[0])
    model = am.load(checkpoint)
    for name in ("0003", "dogs/rex"):
        seed = NAMES.index(name)
        given = {"rgb": photos / f"{name}.png"}
        alone = model.generate(given, "rgb", keep={"rgb": masks / f"{name}.png"}, seed=seed)
        saved = np.asarray(Image.open(out / "rgb" / f"{name}.png"))
        assert np.array_equal(saved, alone["rgb"])
    before = contents(out / "rgb")
    Image.fromarray(np.full_like(mask, 255, np.uint8)).save(masks / "dogs/rex.png")
    assert command(*asked) == 0
    changed = {name for name, data in contents(out / "rgb").items() if data != before[name]}
    assert {Path(name).stem for name in changed} == {"rex"}
    saved = np.asarray(Image.open(out / "rgb" / "dogs/rex.png"))
    assert np.array_equal(saved, model.accept({"rgb": photos / "dogs/rex.png"})["rgb"])
    capsys.readouterr()
    assert command(*generating(checkpoint, out, photos, "--to", "rgb", "--keep", f"rgb={photos.parent}/*.png")) == 2
    assert "has no files that end in" in capsys.readouterr().err


def test_a_bad_picture_is_left_out_and_named(photos, checkpoint, tmp_path, capsys):
    copy, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, copy)
    (copy / "0001.png").write_text("no picture")
    words = generating(checkpoint, out, copy, "--to", "depth", "--max-bad", 0.5)
    assert command(*words, "--json") == 0 and json.loads(capsys.readouterr().out)["problems"] == 1
    assert [each["sample"] for each in problems(out)] == ["0001"]
    assert not (out / "depth/0001.png").exists() and (out / "depth/0002.png").exists()
    assert command(*generating(checkpoint, tmp_path / "strict", copy, "--to", "depth")) == 2
    assert "1 of 7 samples have problems" in capsys.readouterr().err


def test_one_value_may_come_from_the_standard_input(photos, checkpoint, monkeypatch, capsys):
    picture = (photos / "0000.png").read_bytes()
    said = []
    for word, stdin in ((f"rgb={photos / '0000.png'}", b""), ("rgb=-", picture), (str(photos / "0000.png"), b"")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        assert command("generate", word, "--to", "caption", "--model", checkpoint) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2] != ""


def test_all_but_some_targets(photos, checkpoint, capsys):
    words = ["generate", f"rgb={photos / '0000.png'}", "--model", checkpoint, "--json"]
    assert command(*words, "--to", "all,-caption,-color_palette") == 0
    assert json.loads(capsys.readouterr().out)["values"].keys() == {"depth", "normal", "semseg", "canny_edge"}
    for targets, complaint in (("-caption", "write all,-caption"), ("all,-captoin", "did you mean 'caption'")):
        assert command(*words, "--to", targets) == 2 and complaint in capsys.readouterr().err


def test_every_argument_of_load_and_every_sampling_option_is_an_option():
    of_load = set(inspect.signature(am.load).parameters) - {"name"}
    of_generate = set(inspect.signature(am.AnyModel.generate_batch).parameters) - {"self", "inputs", "common"}
    asked = {"options": "settings", "targets": "targets", "progress": "quiet"}
    named = {field.name for field in attrs.fields(Sampling)} | of_load | {asked.get(n, n) for n in of_generate}
    assert named - {"quiet"} <= {parameter.name for parameter in generate.params}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["{photos}", "--to", "depth"], "say which with --out"),
        (["{photos}/*.gif", "--to", "depth", "--out", "{out}"], "has no files that end in .png"),
        (["@{out}.txt", "--to", "depth", "--out", "{out}"], "no such file"),
        (["{photos}", "rgb={photos}", "--to", "depth", "--out", "{out}"], "rgb is given twice"),
        (["{photos}", "--to", "depth", "--out", "{out}", "--truth", "depth=x.png"], "--truth is for one sample"),
        (["{photos}", "--to", "depth", "--out", "{out}", "--live"], "--live is for one sample; leave it out for many"),
        (
            ["{photos}/0000.png", "--to", "depth", "--out", "{out}", "--size", "64x64"],
            "--size is for one sample; a file without a name makes a folder for many: write rgb={photos}/0000.png",
        ),
        (["{photos}", "--to", "rgb", "--out", "{out}", "--keep", "rgb={out}/none/"], "no such file"),
        (["-", "-", "--to", "depth", "--out", "{out}"], "can be read once"),
        (["{photos}/0000.png", "{photos}/0000.jpg", "--to", "depth", "--out", "{out}"], "is no file here"),
        (["{photos}", "--to", "depth", "--out", "{out}", "--steps", "0"], "steps"),
        (["{photos}", "--to", "depth", "--out", "{out}", "--device", "a GPU"], "is no device"),
        (["{photos}", "--to", "depth", "--out", "{out}", "--weights", "rgb"], "NAME=VALUE"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(photos, checkpoint, tmp_path, capsys, words, complaint):
    out = tmp_path / "out"
    filled = [word.format(photos=photos, out=out) for word in words]
    assert command("generate", *filled, "--model", checkpoint) == 2
    said, complaint = capsys.readouterr().err, complaint.format(photos=photos)
    assert said.startswith("error: ") and said.count("\n") == 1 and complaint in said and not out.exists()


def killed_at_random(words: list[str], out: Path, seed: int, times: int) -> None:
    """Start a command, and kill it at a random moment when it has finished something more, so many times."""
    rng = random.Random(seed)
    for _ in range(times):
        process = Forked(*words)
        wanted = len(list((out / ".jobs").glob("*-*.json"))) + rng.randint(1, 3)
        while process.poll() is None and len(list((out / ".jobs").glob("*-*.json"))) < wanted:
            time.sleep(0.002)
        time.sleep(rng.random() / 20)
        process.kill()
        said, _ = process.communicate(timeout=900)
        assert process.returncode in (-signal.SIGKILL, 0), said  # 0 of one that was at its end before it was looked at


def test_a_killed_run_goes_on_and_ends_with_the_same_files(photos, checkpoint, whole, tmp_path):
    out = tmp_path / "out"
    words = generating(checkpoint, out, photos, "--to", "depth,caption", "--seed", 5)
    killed_at_random(words, out, 0, 1)
    assert command(*words) == 0
    assert contents(out) == contents(whole)


@pytest.mark.slow
def test_200_pictures_by_the_embedded_model_killed_at_random(tmp_path):
    photos = write_pictures(tmp_path, 200, modalities=("rgb",)) / "rgb"
    words = ["generate", f"{photos}/*.png", "--to", "depth,caption", "--shard-size", "16", "--out"]
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, "-m", "anymodal", *words, str(one)], env=ALONE, check=True)
    killed_at_random([*words, str(two)], two, int(os.environ.get("SEED", "0")), 6)
    subprocess.run([sys.executable, "-m", "anymodal", *words, str(two)], env=ALONE, check=True)
    assert contents(two) == contents(one) and len(list(two.glob("depth/*.png"))) == 200
    assert command("data", "check", two) == 0


@pytest.mark.slow
def test_ray_makes_the_same_files(photos, checkpoint, whole, tmp_path):
    out = tmp_path / "out"
    words = generating(checkpoint, out, photos, "--to", "depth,caption", "--seed", 5, "--executor", "ray")
    subprocess.run([sys.executable, "-m", "anymodal", *words], env=ALONE, check=True)
    assert contents(out / "caption") == contents(whole / "caption")


def test_texts_of_many_begin_alike(photos, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    asked = generating(checkpoint, out, photos, "--to", "caption", "--start", "caption=a red car")
    assert command(*asked) == 0
    said = [path.read_text() for path in sorted(out.glob("caption/**/*.txt"))]
    assert len(said) == 7 and all(text.startswith("a red car") for text in said) and len(set(said)) > 1
    capsys.readouterr()
    assert command(*generating(checkpoint, out, photos, "--to", "caption", "--start", "caption=a dog")) == 2
    assert "a dog" in capsys.readouterr().err


def test_boxes_of_many_are_kept_and_begun_with_as_those_of_one(tmp_path):
    """Of wide pictures the middle is seen: numbers count boxes beside it too, and what begins is cut alike."""
    model, det, files = tiny_model(["rgb", "det"]), registry().modality("det")(), tmp_path / "files"
    corners = {"cup": [0, 0, 0.2, 1], "car": [0.3, 0.2, 0.5, 0.6], "dog": [0.5, 0.2, 0.7, 0.6]}
    boxes = det.accept([{"boxes": each, "class_name": name} for name, each in corners.items()])
    model.modalities["rgb"].write(np.zeros((32, 64, 3), np.uint8), files / "rgb/a.png")
    det.write(boxes, files / "det/a.json")
    det.write(boxes[1:2], tmp_path / "begin.json")
    checkpoint, given = model.save_pretrained(tmp_path / "model"), {"rgb": files / "rgb/a.png"}
    kept = model.generate(given | {"det": boxes}, "det", keep={"det": [1]})["det"]
    begun = model.generate(given, "det", start={"det": boxes[1:2]})["det"]
    assert kept[0] == begun[0] and kept[0].class_name == "car"
    for words, wanted in (
        ((f"det={files}/det", "--keep", "det=1"), kept),
        (("--start", f"det={tmp_path}/begin.json"), begun),
    ):
        out = tmp_path / words[-2].strip("-")
        assert command(*generating(checkpoint, out, f"rgb={files}/rgb", "--to", "det", *words)) == 0
        assert same(det.read(out / "det/a.json"), wanted, 1e-6)
    out = tmp_path / "beside"
    asked = generating(checkpoint, out, f"rgb={files}/rgb", f"det={files}/det", "--to", "det", "--keep", "det=0,2")
    assert command(*asked) == 2
    assert "1 of the 2 parts of 'det' that are kept lie outside" in str(problems(out))


def test_what_texts_begin_with_counts_by_what_its_file_holds(photos, checkpoint, tmp_path, capsys):
    first, second, out = tmp_path / "first.txt", tmp_path / "second.txt", tmp_path / "out"
    first.write_text("a red car")
    asked = generating(checkpoint, out, photos, "--to", "caption", "--start", f"caption={first}")
    assert command(*asked) == 0
    before = contents(out)
    second.write_text("a red car")
    assert command(*generating(checkpoint, out, photos, "--to", "caption", "--start", f"caption={second}")) == 0
    assert contents(out) == before
    first.write_text("a dog")
    capsys.readouterr()
    assert command(*asked) == 2 and "other settings: caption.start.caption" in capsys.readouterr().err


def test_a_text_of_which_a_part_is_kept_counts_by_what_it_says(photos, checkpoint, tmp_path, capsys):
    """It is a target, and so not among the inputs that are written with their texts."""
    out = tmp_path / "out"
    words = ("--to", "caption", "--keep", "caption")
    assert command(*generating(checkpoint, out, photos, "caption=a red ___", *words)) == 0
    assert command(*generating(checkpoint, out, photos, "caption=a red ___", *words)) == 0
    capsys.readouterr()
    assert command(*generating(checkpoint, out, photos, "caption=a blue ___", *words)) == 2
    assert "other settings: caption.texts.caption was" in capsys.readouterr().err
