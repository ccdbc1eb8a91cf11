"""The table of formats: another one is a class and an entry, and its models and tokenizers load and convert."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from published_made import same

import anymodal as am
from anymodal.checkpoints.convert import convert as convert_checkpoint
from anymodal.checkpoints.formats import FORMATS
from anymodal.checkpoints.formats.base import Format, Options
from anymodal.checkpoints.formats.native.format import Native
from anymodal.checkpoints.raw_config import RawConfig
from anymodal.checkpoints.record import Bundle
from anymodal.checkpoints.repository import Files, Folder
from anymodal.checkpoints.tokenizer import AnyTokenizer, load_tokenizer, save_tokenizer
from anymodal.cli.main import cli
from anymodal.errors import CheckpointError, ConfigError


class Nested:
    """A format that keeps ours in a folder `inner`, beside a config of its own."""

    name = "nested"
    title = "a nested checkpoint"

    def presets(self) -> Mapping[str, str]:
        return {"nested-b": "me/nested"}

    def recognizes_model(self, config: Mapping[str, Any]) -> bool:
        return config.get("nested") == "model"

    def recognizes_tokenizer(self, config: Mapping[str, Any]) -> bool:
        return config.get("nested") == "tokenizer"

    def load(self, files: Files, config: RawConfig, options: Options) -> Bundle:
        inner = self._inner(files)
        raw = RawConfig(json.loads(inner.path("config.json").read_text()), str(inner))
        return Native().load(inner, raw, options)

    def save(self, bundle: Bundle, target: Path) -> list[str]:
        Native().save(bundle, target / "inner")
        (target / "config.json").write_text('{"nested": "model"}')
        return ["nothing was left out"]

    def load_tokenizer(self, files: Files, config: RawConfig) -> AnyTokenizer:
        return Native().load_tokenizer(self._inner(files), config)

    def save_tokenizer(self, tokenizer: AnyTokenizer, target: Path) -> None:
        Native().save_tokenizer(tokenizer, target / "inner")
        (target / "config.json").write_text('{"nested": "tokenizer"}')

    def _inner(self, files: Files) -> Folder:
        return Folder(files.path("inner/config.json").parent)


@pytest.fixture
def nested(monkeypatch: pytest.MonkeyPatch) -> Format:
    format: Format = Nested()
    monkeypatch.setitem(FORMATS, format.name, format)
    return format


def convert(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["convert", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_model_of_another_format_loads(nested, small_model, tmp_path):
    nested.save(small_model.bundle, tmp_path)
    assert same(am.load(tmp_path).transformer, small_model.transformer)
    assert list(am.load(tmp_path, modalities="depth").modalities.modalities) == ["depth"]


def test_models_convert_from_and_to_another_format(nested, checkpoint, small_model, tmp_path):
    assert convert(checkpoint, tmp_path / "there", "--to", "nested")["notes"] == ["nothing was left out"]
    assert (tmp_path / "there" / "inner" / "config.json").is_file()
    convert(tmp_path / "there", tmp_path / "back")
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["format"] == "anymodal" and same(am.load(tmp_path / "back").transformer, small_model.transformer)


def test_tokenizers_of_another_format_load_and_convert(nested, seven, checkpoint, tmp_path):
    save_tokenizer(seven["depth"], tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "there", "--to", "nested")
    wanted = seven["depth"].tokenizer.config
    assert load_tokenizer(tmp_path / "there").config == wanted
    convert(tmp_path / "there", tmp_path / "back")
    assert "tokenizer" in json.loads((tmp_path / "back" / "config.json").read_text())
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    shutil.rmtree(Path(copy) / "modalities" / "depth")
    with pytest.raises(ConfigError, match="tokenizers names 'detph', which is no modality; did you mean 'depth'"):
        am.load(copy, modalities=["rgb"], tokenizers={"semseg": tmp_path, "detph": tmp_path / "there"})
    model = am.load(copy, tokenizers={"depth": tmp_path / "there"})
    assert model.modalities["depth"].pending is not None and model.modalities["depth"].tokenizer.config == wanted


def test_what_another_format_adds_is_known_everywhere(nested, tmp_path):
    done = CliRunner().invoke(cli, ["models", "--json"])
    row = {"name": "nested-b", "where": "me/nested", "status": "on the Hub", "modalities": None}
    assert row in json.loads(done.stdout)["models"]
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="a published 4M model or a nested checkpoint, it says 'bert'"):
        am.load(tmp_path)
    (tmp_path / "config.json").write_text('{"nested": "tokenizer"}')
    with pytest.raises(CheckpointError, match="is the tokenizer of one modality and no model"):
        am.load(tmp_path)


def test_a_format_that_there_is_not(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no format 'fuorm'; did you mean 'fourm'\?"):
        convert_checkpoint(checkpoint, tmp_path / "out", to="fuorm")
    assert not list(tmp_path.iterdir())


def test_a_published_folder_becomes_a_single_file_and_the_other_way(seven_published, published_words, tmp_path):
    convert(seven_published, tmp_path / "one.safetensors", "--to", "fourm")
    convert(tmp_path / "one.safetensors", tmp_path / "folder", "--to", "fourm", "--vocabulary", published_words)
    one, two = (am.load(place) for place in (seven_published, tmp_path / "folder"))
    assert one.modalities.layout == two.modalities.layout and same(one.transformer, two.transformer)
