"""`anymodal convert`: models and tokenizers from one format to the other and back, bit by bit."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from published_made import write_model
from recordings import SMALL
from safetensors.torch import load_file

import anymodal as am
from anymodal.checkpoints.convert import convert
from anymodal.checkpoints.formats.native.tokenizer import save_native_tokenizer
from anymodal.cli.main import cli
from anymodal.errors import CheckpointError
from anymodal.tokenizers.tokenizer import VQTokenizer


@pytest.mark.parametrize("name", ["published", "published.safetensors"])
def test_round_trip_between_the_formats_is_bit_equal(seven_published, published_words, tmp_path, name):
    model = am.load(seven_published)
    model.modalities["depth"].tokenizer = VQTokenizer(
        model.modalities["depth"].tokenizer_config(*[{"dim": 512, "depth": 8, "heads": 8}] * 2)
    ).eval()
    ours = model.save_pretrained(tmp_path / "ours")
    notes = convert(ours, tmp_path / name)
    assert [note.split(";")[0] for note in notes] == ["one file holds no tokenizers"] * name.endswith(".safetensors")
    convert(tmp_path / name, tmp_path / "again", published_words)
    first, second = (load_file(folder / "model.safetensors") for folder in (ours, tmp_path / "again"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (ours, tmp_path / "again")]
    assert configs[0]["model"] == configs[1]["model"]
    assert list(configs[0]["modalities"]) == list(configs[1]["modalities"])
    if not name.endswith(".safetensors"):
        first, second = (load_file(f / "modalities/depth/model.safetensors") for f in (ours, tmp_path / "again"))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_what_the_other_format_cannot_hold_is_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="is not that of 4M's domain"):
        convert(checkpoint, tmp_path / "published")
    assert not list(tmp_path.iterdir())


def test_what_no_plugin_can_read_is_refused(seven_published, without_depth, tmp_path):
    with pytest.raises(am.AnymodalError, match="depth"):
        convert(seven_published, tmp_path / "ours")
    assert not list(tmp_path.iterdir())


def test_tokenizers_are_converted_both_ways(tmp_path):
    modality = am.registry().modality("depth")()
    made = VQTokenizer(modality.tokenizer_config(*[{"dim": 512, "depth": 8, "heads": 8}] * 2)).eval()
    save_native_tokenizer(made, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "published")
    assert json.loads((tmp_path / "published" / "config.json").read_text())["enc_type"] == "vit_s_enc"
    convert(tmp_path / "published", tmp_path / "again")
    first, second = (load_file(tmp_path / part / "model.safetensors") for part in ("ours", "again"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_command_converts(seven_published, published_words, tmp_path):
    done = CliRunner().invoke(cli, ["convert", str(seven_published), str(tmp_path / "ours"), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["target"] == str(tmp_path / "ours")
    assert "load from the Hub when first needed" in done.stderr
    assert am.load(tmp_path / "ours").modalities["depth"].pending.place == "EPFL-VILAB/4M_tokenizers_depth_8k_224-448"
    done = CliRunner().invoke(cli, ["models", "--json"])
    assert {"4m-21-b", "4m-7-sr-l"} <= {row["name"] for row in json.loads(done.stdout)["models"]}


@pytest.mark.parametrize("name", ["4M-21_B", "4M-7_B"])
def test_a_small_model_has_exactly_the_published_keys(name, tmp_path):
    recorded = json.loads((SMALL / "shapes" / f"{name}.json").read_text())
    folder = write_model(tmp_path / name, recorded["config"] | {"dim": 4, "num_heads": 2})
    assert load_file(folder / "model.safetensors").keys() == recorded["tensors"].keys()
