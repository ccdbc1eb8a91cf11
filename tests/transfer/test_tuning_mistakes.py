"""Mistakes in fine-tuning, each told in one sentence: of configurations, data, values, and damaged results."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save
from small_runs import command
from small_transfers import SIZE, config, picture, run

import anymodal as am
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.transfer import TransferConfig


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": []}, "each once"),
        ({"inputs": ["rgb", "rgb"]}, "each once"),
        ({"task": {"name": "boxs"}}, "boxes"),
        ({"tune": "lora", "scratch": True}, "scratch"),
        ({"tune": {"name": "lora", "rank": 10**12}}, r"Lora\.rank must be from 1 to 4096, got 1e\+12"),
        ({"tune": {"name": "lora", "alpha": -1.0}}, r"Lora\.alpha must be above 0"),
        ({"think": {"modality": "rgb"}}, "an input already"),
        ({"think": {"modality": "depth", "options": {"stpes": 1}}}, "stpes"),
        ({"head": {"name": "convnext", "widht": 3}}, "widht"),
        ({"checkpoints": {"result": "best", "best": 1}, "held_out": None}, "add held_out"),
    ],
)
def test_mistakes_of_the_configuration_are_told_before_anything_is_built(world, changed, message):
    raw = {**config(world, "classes"), **changed}
    with pytest.raises(ConfigError, match=message):
        structure(raw, TransferConfig, "here")


def test_mistakes_of_data_are_told(world, tmp_path):
    with pytest.raises(ConfigError, match="cannot be an input too"):
        run(world, tmp_path, "semseg", inputs=["rgb", "semseg"])
    with pytest.raises(DataError, match="boxes9"):
        run(world, tmp_path, "classes", task={"name": "boxes3d", "labels": "boxes9"})


def test_mistakes_of_predict_are_told(world, tmp_path):
    made = run(world, tmp_path, "classes", held_out=None)
    with pytest.raises(ConfigError, match="'depth' is no input"):
        made.predict({"depth": np.ones((SIZE, SIZE), np.float32)})
    with pytest.raises(ConfigError, match="one input at least"):
        made.predict({})
    for focal in (0, float("nan"), "long"):
        with pytest.raises(am.AnymodalError):
            made.predict(picture(world), focal=focal)
    assert made.predict([]) == []


def test_a_damaged_result_is_refused(world, tmp_path):
    run(world, tmp_path, "classes")
    path = tmp_path / "head" / "config.json"
    facts = json.loads(path.read_text())
    other = {**facts["config"], "inputs": ["depth9"]}
    grid = {**facts["config"], "task": {"name": "dense", "to": "depth", "settings": {"sides": 3}}}
    for changed, message in (
        ({"model": "other"}, r"head belongs to another model than .*model: others are its transformer"),
        ({"model": None}, r"head.config.json does not say which model the head belongs to"),
        ({"facts": {}}, r"head.config.json: .* names no classes"),
        ({"config": None}, r"head.config.json: .* must be given"),
        ({"config": other}, r"head.config.json: modality 'depth9' is not in this set"),
        ({"config": grid}, r"head.config.json: .*no setting 'sides'"),
        ({"thinker": True}, r"head belongs to a model in .*thinker, which is no folder"),
    ):
        path.write_text(json.dumps(facts | changed))
        with pytest.raises(CheckpointError, match=message):
            am.load_transfer(tmp_path)
    path.write_text(json.dumps(facts)[:-9])
    with pytest.raises(CheckpointError, match=r"head.config.json is not JSON"):
        am.load_transfer(tmp_path)


def test_damaged_weights_of_a_head_are_refused(world, tmp_path):
    run(world, tmp_path, "classes")
    path = tmp_path / "head" / "model.safetensors"
    whole, tensors = path.read_bytes(), load_file(path)
    name = next(iter(tensors))
    for changed, message in (
        (whole[:-7], "is not a whole safetensors file"),
        (b"", "is not a whole safetensors file"),
        (save({key: tensor for key, tensor in tensors.items() if key != name}), f"head has no tensor '{name}'"),
        (save(tensors | {name: torch.zeros(3, 5)}), rf"'{name}' in .*head has shape \(3, 5\)"),
        (save(tensors | {"extra": torch.zeros(2)}), "head has a tensor 'extra' that its config does not explain"),
    ):
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=message):
            am.load_transfer(tmp_path)


def test_a_folder_without_a_result_is_refused(world, tmp_path):
    run(world, tmp_path / "out", "classes")
    shutil.rmtree(tmp_path / "out" / "model")
    with pytest.raises(CheckpointError, match=r"head belongs to a model in .*model, which is no folder"):
        am.load_transfer(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "head")
    (tmp_path / "out" / "head").write_text("a file")
    (tmp_path / "file").write_text("another one")
    for place in ("out", "file", "nowhere"):
        with pytest.raises(CheckpointError, match="no result"):
            am.load_transfer(tmp_path / place)
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        am.load_transfer("x" * 5000)


def test_the_command_says_what_is_wrong(world, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(world, "classes")))
    assert command("train", tmp_path / "c.yaml", "--out", tmp_path / "out") == 2
    assert "anymodal transfer" in capsys.readouterr().err
