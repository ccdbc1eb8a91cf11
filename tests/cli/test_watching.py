"""`generate --explain` and `--animate`, and `--keep`, on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from small_runs import command

from anymodal.cli import watching


@pytest.fixture
def run(capsys):
    def call(*words: object) -> tuple[int, str]:
        code = command(*words)
        captured = capsys.readouterr()
        return code, captured.out + ("" if "--json" in words else captured.err)

    return call


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def test_plan_and_pictures_of_a_generation(run, checkpoint, files):
    code, said = run(
        *("generate", "caption=a red car", "--model", checkpoint, "--to", "depth,rgb", "--steps", 3, "--json"),
        *("--explain", "--animate", files / "grows.webp", "--guidance", 2),
    )
    assert code == 0, said
    first, second = json.loads(said)["plan"]
    assert (first["target"], first["steps"], first["tokens"], first["passes"]) == ("depth", 3, 16, 2)
    assert second["from"] == ["caption", "depth"] and second["seconds"] >= 0
    with Image.open(files / "grows.webp") as picture:
        assert picture.n_frames == 6 and picture.size == (256, 256)
    code, said = run("generate", "caption=a car", "--model", checkpoint, "--to", "depth", "--explain", "--guidance", 1)
    assert code == 0 and "depth: from caption; roar, " in said and "up to 1 pass a step" in said


def test_what_is_read_beside_weights_is_what_has_one(run, checkpoint, files, small_model):
    """Neither the other inputs nor targets made before, which the plan named."""
    given = ("caption=a red car", f"normal={files / 'photo.png'}")
    command = ("generate", *given, "--model", checkpoint, "--to", "depth,rgb", "--steps", 1, "--explain", "--json")
    code, said = run(*command, "--weights", "caption=2")
    assert code == 0, said
    assert [row["from"] for row in json.loads(said)["plan"]] == [["caption"], ["caption"]]
    made = [
        small_model.generate(inputs, targets, steps=1, weights={"caption": 2}, seed=0).tokens["rgb"]
        for inputs, targets in (
            ({"caption": "a red car", "depth": np.ones((32, 32), np.float32)}, "rgb"),
            ({"caption": "a red car"}, "rgb"),
        )
    ]
    assert np.array_equal(*made)


def test_of_many_steps_few_pictures_are_kept(run, checkpoint, files, monkeypatch):
    monkeypatch.setattr(watching, "MOST_FRAMES", 3)
    command = ("generate", "caption=a car", "--model", checkpoint, "--to", "depth,rgb", "--steps", 16)
    code, said = run(*command, "--animate", files / "grows.webp")
    assert code == 0, said
    shown = {}
    with Image.open(files / "grows.webp") as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            picture.load()
            shown[number] = picture.info["duration"]
    assert sorted(shown.values())[-2:] == [watching.LAST] * 2  # the end of each target
    assert 2 < len(shown) <= 3 + 2 and shown[len(shown) - 1] == watching.LAST


def test_a_mask_on_the_command_line(run, checkpoint, files):
    code, said = run(
        *("generate", f"rgb={files / 'photo.png'}", "--model", checkpoint, "--to", "rgb", "--out", files / "out"),
        *("--keep", f"rgb={files / 'mask.png'}", "--steps", 2),
    )
    assert code == 0, said
    made, given = (np.asarray(Image.open(p)) for p in (files / "out/rgb.png", files / "out/inputs/rgb.png"))
    assert np.array_equal(made[:, :16], given[:, :16]) and not np.array_equal(made, given)
    code, said = run(
        *("generate", f"rgb={files / 'photo.png'}", "--model", checkpoint, "--to", "rgb", "--out", files / "out"),
        *("--keep", f"rgb={files / 'mask.png'}", "--steps", 2, "--json"),
    )
    assert code == 0 and json.loads(said)["files"]["rgb"] == str(files / "out/rgb.png")
    code, said = run("repeat", files / "out")
    assert code == 2 and "parts of rgb were given" in said


def test_words_that_are_kept(run, checkpoint):
    code, said = run(
        *("generate", "caption=a ___ car on a ___", "--model", checkpoint, "--to", "caption", "--keep", "caption"),
    )
    left = iter(said.split("caption: ")[-1].split())
    assert code == 0 and all(word in left for word in ["a", "car", "on", "a"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--animate", "x.png"], "end it in .webp or .gif"),
        (["--animate", f"{__file__}/x.gif"], "is not a folder"),
        (["--keep", "=x"], "is not NAME, NAME=MASK or NAME=PART,PART"),
        (["--keep", "depth=no.png"], "keep names 'depth', which is not an input"),
        (["--size", "64"], "is not WIDTHxHEIGHT"),
        (["--overlap", "0.5"], "say its --size"),
        (["--size", "64x64", "--animate", "x.gif"], "leave out --size"),
        (["--size", "64x64"], "'caption' is of the whole picture"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(run, checkpoint, words, says):
    code, said = run("generate", "caption=a car", "--model", checkpoint, "--to", "depth", *words)
    assert code == 2 and says in said


def test_a_large_picture_is_made_in_tiles_and_made_again(run, checkpoint, files, tmp_path):
    asked = ("rgb=" + str(files / "photo.png"), "--to", "depth", "--size", "48x40", "--model", checkpoint)
    code, said = run("generate", *asked, "--out", tmp_path / "out")
    assert code == 0 and "depth: float32 40 x 48" in said, said
    code, said = run("repeat", tmp_path / "out")
    assert code == 0 and "depth: the same file" in said


def test_a_text_begins_as_is_said(run, checkpoint, files):
    asked = ("generate", f"rgb={files / 'photo.png'}", "--model", checkpoint, "--to", "caption")
    code, said = run(*asked, "--start", "caption=a red car", "--out", files / "out")
    assert code == 0 and "caption: a red car" in said, said
    code, said = run("repeat", files / "out")
    assert code == 2 and "parts of caption were given" in said
    code, said = run(*asked, "--start", "caption={a: b}")  # text, not a dict
    assert code == 0 and "caption: {a: b}" in said
    for words, says in (
        (("--start", "captoin=a"), "--start names 'captoin', which is not a target"),
        (("--start", "caption"), "is not a start of the form NAME=VALUE"),
        (("--start", "caption=a", "--start", "caption=b"), "caption is given twice"),
        (("--start", "caption="), "caption is empty"),
        (("--start", "caption=a", "--size", "64x64"), "--start is for pictures of the model's size"),
        (("--start", "color_palette=no.json", "--to", "caption,color_palette"), "no such file"),
    ):
        code, said = run(*asked, *words)
        assert code == 2 and says in said, said


def test_colors_in_braces_begin_a_palette(run, checkpoint, files):
    asked = ("generate", f"rgb={files / 'photo.png'}", "--model", checkpoint, "--to", "color_palette", "--out")
    code, said = run(*asked, files / "out", "--start", "color_palette={1: [[255, 0, 0]]}")
    assert code == 0 and "[255,0,0]" in "".join((files / "out/color_palette.json").read_text().split()), said
    code, said = run(*asked, files / "other", "--start", "color_palette={1: [[255, 0")
    assert code == 2 and said.startswith("error: ")
