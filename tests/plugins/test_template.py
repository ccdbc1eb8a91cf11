"""`anymodal plugin new`: what it writes works untouched, and it never leaves anything half-written."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from small_runs import command

import anymodal as am
import anymodal.families
from anymodal.errors import ConfigError, DataError
from anymodal.plugins.template import families, filled, write_plugin

ROOT = Path(__file__).parents[2]
FILES = {"pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/test.yml"}


@pytest.mark.parametrize("family", families())
def test_a_plugin_of_every_family_is_whole(tmp_path, monkeypatch, family):
    folder = write_plugin("odd_thing", family, tmp_path, author='Ada "L." Ünal')
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert written == FILES | {"anymodal_odd_thing.py", "test_odd_thing.py"}
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["authors"] == [{"name": 'Ada "L." Ünal'}]
    assert project["urls"] == {"Source": "https://example.org/anymodal-odd-thing"}
    assert project["entry-points"]["anymodal"] == {"odd_thing": "anymodal_odd_thing:OddThing"}
    assert yaml.safe_load((folder / ".github/workflows/test.yml").read_text())["jobs"]
    assert "$" not in (folder / "README.md").read_text()
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("anymodal_odd_thing", None)
    cls = importlib.import_module("anymodal_odd_thing").OddThing
    cls.validate()
    assert cls.name == "odd_thing"
    assert cls.family.split()[0] == family.replace("-", " ").split()[0]


def test_every_family_is_tidy(tmp_path):
    """Ruff and mypy find nothing, with their own settings and with ours."""
    modules = [
        str(
            write_plugin(f"odd_{family.replace('-', '_')}", family, tmp_path)
            / f"anymodal_odd_{family.replace('-', '_')}.py"
        )
        for family in families()
    ]
    for options in (["--isolated"], ["--config", str(ROOT / "pyproject.toml")]):
        for verb in (["check"], ["format", "--check"]):
            subprocess.run(
                [sys.executable, "-m", "ruff", *verb, *options, "--line-length=120", str(tmp_path)], check=True
            )
    mypy = ["mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    subprocess.run([sys.executable, "-m", *mypy, *modules], check=True, cwd=ROOT)


@pytest.mark.parametrize("family", families())
def test_every_family_passes_its_own_check(tmp_path, family, capsys):
    name = f"odd_{family.replace('-', '_')}"
    folder = write_plugin(name, family, tmp_path)
    try:
        code = command("plugin", "check", folder, "--json")
    finally:
        sys.modules.pop(f"anymodal_{name}", None)
        sys.path[:] = [p for p in sys.path if p != str(folder)]
    said = json.loads(capsys.readouterr().out)
    bad = [result for result in said["results"] if result["status"] in ("failed", "warned")]
    assert not bad, json.dumps(bad, indent=1)
    assert code == 0


def test_names_of_two_words_and_with_digits(tmp_path):
    assert write_plugin("height_map", "image", tmp_path).name == "anymodal-height-map"
    texts = filled("band_7", "image", "me")
    assert "class Band7(" in texts["anymodal_band_7.py"] and 'name = "band_7"' in texts["anymodal_band_7.py"]
    assert "name =" not in filled("height_map", "image", "me")["anymodal_height_map.py"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("HeightMap", "did you mean 'height_map'?"),
        ("height-map", "did you mean 'height_map'?"),
        ("anymodal-height-map", "did you mean 'height_map'?"),
        ("7up", "must match"),
        ("../up", "did you mean 'up'?"),
        ("trailing_", "letter or digit at its end"),
        ("a" * 65, "at most 64"),
        ("none", "Python keeps for itself"),
        ("image_modality", "would hide what the plugin imports"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, words):
    with pytest.raises(ConfigError) as caught:
        write_plugin(name, "image", tmp_path)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_unknown_family_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"no family 'imagee'; did you mean 'image'\?; families: edges, "):
        write_plugin("odd", "imagee", tmp_path)


def test_nothing_is_overwritten_and_nothing_left_behind(tmp_path, monkeypatch):
    write_plugin("odd", "image", tmp_path)
    (tmp_path / "anymodal-odd" / "anymodal_odd.py").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        write_plugin("odd", "text", tmp_path)
    assert (tmp_path / "anymodal-odd" / "anymodal_odd.py").read_text() == "mine"

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match=r"cannot write .*No space left on device"):
        write_plugin("other", "image", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["anymodal-odd"]


def test_the_command_says_what_it_wrote(tmp_path, capsys, monkeypatch):
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n  name = Ada Lovelace\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.chdir(tmp_path)
    assert command("plugin", "new", "bird_song", "--family", "text", "--out", tmp_path / "src", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(tmp_path / "src/anymodal-bird-song") and "LICENSE" in said["files"]
    assert "Ada Lovelace" in (Path(said["folder"]) / "LICENSE").read_text()
    assert command("plugin", "new", "bird_song", "--out", tmp_path / "src") == 2
    assert "is there already" in capsys.readouterr().err


def test_a_name_that_is_taken_is_told(tmp_path, capsys):
    assert command("plugin", "new", "depth", "--out", tmp_path) == 0
    assert "note: anymodal-depth provides 'depth' too" in capsys.readouterr().out


def test_families_of_the_core_have_a_template():
    """Those that mean something alone; the others join or extend what a plugin defines itself."""
    named = {
        cls.family for cls in vars(anymodal.families).values() if isinstance(cls, type) and issubclass(cls, am.Modality)
    }
    covered = {family.replace("-", " ") for family in families()}
    assert named - covered - {"structured sequence"} <= {"coded sequence", "shared sequence", "custom"}
