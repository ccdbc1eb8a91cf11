"""What a fine-tuned model reads: inputs that may be missing, what the model thinks first, and the model itself."""

import json

import numpy as np
import pytest
import torch
from small_transfers import SIZE, picture, run

import anymodal as am
from anymodal.checkpoints.atomic import whole_folder
from anymodal.errors import CheckpointError
from anymodal.transfer.tuning.samples import chosen


def test_any_input_may_be_missing_in_data_and_afterwards(world, tmp_path):
    data = tmp_path / "some"
    for name in ("rgb", "depth", "semseg"):
        (data / name).mkdir(parents=True)
        for k in range(8):
            if name == "semseg" or (name == "rgb") != (k % 2 == 0) or k > 5:
                file = f"{name}/{k:08d}.png"
                (data / file).write_bytes((world / "scenes" / file).read_bytes())
    made = run(world, tmp_path / "out", "semseg", data=str(data), inputs=["rgb", "depth"], drop=0.5)
    depth = {"depth": world / "held" / "depth" / "00000012.png"}
    said = [made.predict(given) for given in (picture(world), depth, picture(world) | depth)]
    assert {value.shape for value in said} == {(SIZE, SIZE)}


def test_dropping_leaves_one_and_sometimes_all():
    tokens = {"a": {"a": np.arange(2)}, "b": {"b.x": np.arange(3), "b.y": np.arange(1)}}
    rng = np.random.default_rng(0)
    drawn = {tuple(chosen(tokens, 0.6, rng)) for _ in range(100)}
    assert drawn == {("a",), ("b.x", "b.y"), ("a", "b.x", "b.y")}
    assert set(chosen(tokens, 0.0, rng)) == {"a", "b.x", "b.y"}


def test_thinking_first_reads_what_the_model_generates(world, tmp_path):
    think = {"modality": "depth", "options": {"steps": 1, "temperature": 0.0}}
    made = run(world, tmp_path, "classes", think=think)
    again = am.load_transfer(tmp_path)
    assert again.predict(picture(world)) == made.predict(picture(world))
    assert list((tmp_path / "thoughts").glob("*.safetensors")) and (tmp_path / "thinker").is_dir()
    read = made.network.grids
    assert [stream.modality for stream in read] == ["rgb", "depth"]
    with pytest.raises(am.UnknownModality, match="caption"):
        run(world, tmp_path / "no", "classes", think={"modality": "caption"})
    with torch.no_grad():
        next(again.thinker.modalities["depth"].tokenizer.decoder.parameters()).add_(1e-3)
    again.thinker.save_pretrained(tmp_path / "thinker")
    with pytest.raises(CheckpointError, match=r"belongs to another model than .*thinker: others are its depth\.dec"):
        am.load_transfer(tmp_path)


def test_a_result_from_before_tokenizers_were_known_is_that_of_its_model(world, tmp_path):
    run(world, tmp_path, "classes", inputs=["depth"])
    config = whole_folder(tmp_path / "head") / "config.json"
    facts = json.loads(config.read_text())
    assert list(facts["model"]["modalities"]) == ["depth.encoder"]
    config.write_text(json.dumps(facts | {"model": facts["model"]["transformer"]}))
    am.load_transfer(tmp_path)
    config.write_text(json.dumps(facts | {"model": facts["model"] | {"modalities": {"depth.encoder": "0" * 32}}}))
    with pytest.raises(CheckpointError, match=r"others are its depth\.encoder"):
        am.load_transfer(tmp_path)
