"""What comes next: every command that works for a while ends with a command to type, where a person looks."""

from __future__ import annotations

import inspect
import re
import sys

import click
import pytest
from click.testing import CliRunner
from command_tree import leaves
from PIL import Image

from anymodal.cli.main import Commands, cli
from anymodal.cli.output import Output

ALONE = {"models", "modalities", "plugin list", "recipes list", "samples list"}  # they answer at once, with a list
SERVERS = {"app"}  # they answer until they are stopped
LEAVES = {" ".join(words): command for words, command in leaves([], Commands("anymodal"))}


@pytest.mark.parametrize("name", [name for name in LEAVES if name not in ALONE | SERVERS])
def test_every_command_says_what_comes_next(name):
    function = inspect.unwrap(LEAVES[name].callback)
    assert re.search(r"output\.(next|again)\(", inspect.getsource(sys.modules[function.__module__]))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_two_examples_of_itself(name):
    examples = (LEAVES[name].help or "").partition("\b\n")[2]
    assert len(re.findall(rf"^ *.*anymodal {name}\b", examples, re.MULTILINE)) >= (1 if name in ALONE else 2), examples


@pytest.fixture
def suggested(monkeypatch) -> list[str]:
    """What a person would be told to type, of all that runs in this test."""
    found: list[str] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Output, "next", lambda self, command: None if self.as_json else found.append(command))
    return found


def test_data_is_tokenized_next_and_with_json_nothing_is_said(tmp_path, suggested):
    (tmp_path / "rgb").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "rgb" / "0.png")
    CliRunner().invoke(cli, ["data", "check", str(tmp_path)])
    assert suggested == [f"anymodal tokenize {tmp_path} --config CONFIG --out tokens"]
    CliRunner().invoke(cli, ["data", "check", str(tmp_path), "--json"])
    assert len(suggested) == 1


def test_one_sample_is_told_of_as_one(tmp_path):
    (tmp_path / "rgb").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "rgb" / "0.png")
    assert f"{tmp_path}: 1 sample (folders)" in CliRunner().invoke(cli, ["data", "check", str(tmp_path)]).output


def test_the_same_command_with_more_words(suggested):
    @click.command()
    def same() -> None:
        Output().again("--out", "a b")

    CliRunner().invoke(same, [], obj=("eval", "depth", "my data"))
    assert suggested == ["anymodal eval depth 'my data' --out 'a b'"]
    CliRunner().invoke(same, [])
    assert len(suggested) == 1
