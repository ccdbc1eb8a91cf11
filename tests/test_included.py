"""Recipes and sample pictures: listed, copied whole, never over something else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

import anymodal as am
from anymodal.config import load_config
from anymodal.errors import ConfigError, DataError
from anymodal.included import copy_recipes, copy_samples, recipes, sample_sources, samples
from anymodal.training.multimodal.config import TrainConfig

ORIENTATION = 0x112
ROOT = Path(__file__).parent.parent


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", list(recipes()))
def test_copied_recipes_are_complete(tmp_path, name):
    files = copy_recipes(name, tmp_path / "recipes")
    assert {path for path in (tmp_path / "recipes").rglob("*") if path.is_file()} == set(files)
    for file in files:
        assert file.read_bytes() == (ROOT / file.relative_to(tmp_path)).read_bytes()
    yamls = {str(path.relative_to(ROOT)) for path in (ROOT / "recipes" / name).rglob("*.yaml")}
    assert yamls <= {str(file.relative_to(tmp_path)) for file in files}
    for path in (tmp_path / "recipes" / name).glob("*.yaml"):
        if path.stem == "model" or path.stem.startswith("4m"):
            load_config(path, TrainConfig)  # what it builds on is there too


def test_a_second_copy_changes_nothing_and_another_file_stays(tmp_path):
    (depth,) = [file for file in copy_recipes("tiny", tmp_path) if file.name == "depth.yaml"]
    before = contents(tmp_path)
    copy_recipes("tiny", tmp_path)
    assert contents(tmp_path) == before
    depth.write_text("mine")
    (tmp_path / "tiny" / "model.yaml").unlink()
    mine = contents(tmp_path)
    with pytest.raises(DataError, match=r"depth\.yaml is there already"):
        copy_recipes("tiny", tmp_path)
    assert contents(tmp_path) == mine


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"did you mean 'tiny'\? \(there are: fourm, tiny, tiny128, tiny21, transfer\)"
    ):
        copy_recipes("tinny", Path())
    with pytest.raises(DataError, match=r"did you mean 'coffee'\? \(there are: astronaut, chelsea, coffee, rocket\)"):
        am.sample("cofee")
    with pytest.raises(DataError, match=r"no sample picture 'xyz' \(there are: astronaut"):
        am.sample("xyz")


def test_a_recipe_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no such file: recipes/tiny/model\.yaml; `anymodal recipes copy tiny`"):
        load_config(Path("recipes/tiny/model.yaml"), TrainConfig)
    with pytest.raises(ConfigError, match=r"no such file: tiny/mine\.yaml$"):
        load_config(Path("tiny/mine.yaml"), TrainConfig)
    copy_recipes("tiny", tmp_path / "recipes")
    load_config(Path("recipes/tiny/model.yaml"), TrainConfig)


def test_samples_are_upright_pictures():
    for name in samples():
        picture = am.sample(name)
        assert picture.mode == "RGB" and min(picture.size) >= 64
        assert picture.getexif().get(ORIENTATION, 1) == 1
    with PIL.Image.open(samples()["astronaut"]) as stored:
        assert stored.getexif()[ORIENTATION] != 1


def test_every_sample_has_a_source(tmp_path):
    assert set(sample_sources()) == set(samples())
    assert all(re.search("CC0|public domain", source) for _, source in sample_sources().values())


def test_copied_samples_are_data_without_problems(tmp_path):
    files = copy_samples(tmp_path / "rgb")
    assert {file.stem for file in files} == set(samples())
    report = am.check_dataset(str(tmp_path))
    assert report.samples == len(files) and not len(report.problems)


def test_on_the_command_line(tmp_path):
    def run(*words: str) -> dict:
        command = [sys.executable, "-m", "anymodal", *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert [row["name"] for row in run("recipes", "list")["recipes"]] == [
        "fourm",
        "tiny",
        "tiny128",
        "tiny21",
        "transfer",
    ]
    assert "recipes/tiny/depth.yaml" in run("recipes", "copy", "tiny")["files"]
    assert {row["name"] for row in run("samples", "list")["samples"]} == set(samples())
    assert all((tmp_path / file).is_file() for file in run("samples", "copy", "here")["files"])
