"""Runs that start from a model: larger sets, other words, frozen weights, adapters, and finer sizes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import numpy as np
import pytest
import torch
import yaml
from small_runs import command, stored_tensors

import anymodal as am
from anymodal.checkpoints.state import parts
from anymodal.checkpoints.tokenizer import save_tokenizer
from anymodal.config import load_config, plain_config, structure
from anymodal.crops import Crop
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.store.reader import TokenStore
from anymodal.errors import CheckpointError, ConfigError
from anymodal.model import ModelConfig, Transformer
from anymodal.plugins.registry import registry
from anymodal.text import Vocabulary
from anymodal.tokenizers.diffusion import build
from anymodal.tokens import ModalitySet
from anymodal.training.multimodal.config import TrainConfig, build_set
from anymodal.training.multimodal.estimate import plan
from anymodal.training.multimodal.lora import with_adapters
from anymodal.training.multimodal.run import train
from anymodal.training.multimodal.shape import GivenShape
from anymodal.training.multimodal.start import LoraConfig, StartConfig
from anymodal.training.multimodal.warm_start import completed, prepare, unused_parameters

SIZE = ModelConfig(dim=32, encoder_depth=1, decoder_depth=2, heads=2)
GRID = {"size": 16, "patch": 8, "codebook": 24, "latent": 8}
NET = {"dim": 16, "depth": 1, "heads": 2}
TEXTS = ["a red cube", "a blue ball on a green table", "two red cubes"]


@cache
def words(*texts: str, size: int = 400) -> Vocabulary:
    return Vocabulary.train(texts, size, bins=16, sentinels=8)


def build_model(*names: str, vocabulary: Vocabulary | None = None, **settings: Any) -> am.AnyModel:
    members = [registry().modality(n)(**(GRID if n in ("rgb", "depth", "normal") else {"length": 12})) for n in names]
    torch.manual_seed(sum(map(len, names)))
    return am.AnyModel(ModalitySet(members, vocabulary or words(*TEXTS)), SIZE)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    """A checkpoint of two grids and text."""
    return build_model("depth", "rgb", "caption").save_pretrained(tmp_path_factory.mktemp("old"))


def started(old: Path, new: am.AnyModel, **keys: Any) -> tuple[dict[str, torch.Tensor], Any]:
    report = prepare(new.transformer, StartConfig(model=str(old), **keys), new.modalities.vocabulary)
    return {part.name: part.tensor for part in parts(new.transformer)}, report


def test_the_same_set_is_taken_whole(old):
    mine, report = started(old, build_model("depth", "rgb", "caption"))
    theirs = {part.name: part.tensor for part in parts(am.load(old, device="cpu").transformer)}
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert set(report.taken) == set(mine) and not report.new and not report.partly


def test_a_larger_set_in_another_order_keeps_what_there_is(old):
    fresh = build_model("caption", "normal", "rgb", "depth")
    before = {part.name: part.tensor.clone() for part in parts(fresh.transformer)}
    mine, report = started(old, fresh)
    theirs = {part.name: part.tensor for part in parts(am.load(old, device="cpu").transformer)}
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
    assert {name.split(".")[1] for name in report.new} == {"normal"}
    assert all(torch.equal(mine[name], before[name]) for name in report.new)
    assert "new: inputs.normal" in str(report)


def test_other_words_keep_the_rows_of_equal_ones(old):
    theirs = am.load(old, device="cpu")
    fresh = build_model("caption", "rgb", vocabulary=words(*TEXTS, "yellow cones", "a violet ring", size=420))
    mine, report = started(old, fresh)
    before, after = theirs.modalities.vocabulary.words(), fresh.modalities.vocabulary.words()
    rows, source = mine["outputs.text"], {p.name: p.tensor for p in parts(theirs.transformer)}["outputs.text"]
    shared = [word for word in after if word in before]
    assert 0 < len(shared) < len(after) and any(before[word] != after[word] for word in shared)
    assert all(torch.equal(rows[after[word]], source[before[word]]) for word in shared)
    assert report.partly["outputs.text"] == (len(shared), len(rows))


def test_another_width_is_refused(old):
    wide = Transformer(
        ModelConfig(dim=64, encoder_depth=1, decoder_depth=2, heads=2), build_model("rgb").modalities.layout
    )
    with pytest.raises(CheckpointError, match=r"its dim is 32, this model's is 64; set model.dim"):
        prepare(wide, StartConfig(model=str(old)))
    with pytest.raises(CheckpointError, match="neither a preset nor a folder"):
        prepare(wide, StartConfig(model="tinny"))


def test_frozen_weights_need_no_gradient_and_waiting_ones_are_idle(old):
    model = build_model("rgb")
    started(old, model, freeze=("encoder.*", "decoder.*"))
    assert {n.split(".")[0] for n, p in model.transformer.named_parameters() if not p.requires_grad} == {
        "encoder",
        "decoder",
    }
    model, config = build_model("rgb"), StartConfig(model=str(old), freeze=("encoder.*",), freeze_steps=3)
    prepare(model.transformer, config)
    assert all(p.requires_grad for p in model.transformer.parameters())
    waiting = unused_parameters(model.transformer, config)
    assert len(list(waiting(2))) == len(list(model.transformer.encoder.parameters())) and not list(waiting(3))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"freeze": ["*"]}, "leaves nothing to train"),
        ({"freeze": ["blocks.*"]}, "fits no weight"),
        ({"lora": {"targets": ["fc4"]}}, "layers: fc1, fc2, fc3, kv, proj, q, qkv"),
        ({"lora": {"rank": 0}}, "LoraConfig.rank must be from 1 to 4096, got 0"),
        ({"lora": {}, "freeze": ["encoder.*"]}, "leave out freeze"),
        ({"freeze_steps": 3}, "freeze beside it"),
        ({"grow": True, "lora": {}}, "leave out grow, or lora"),
    ],
)
def test_impossible_starts_are_refused(old, keys, message):
    with pytest.raises(ConfigError, match=message):
        config = structure({"model": str(old), **keys}, StartConfig, "here")
        prepare(build_model("rgb").transformer, config)


# Whole runs.


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """tokenizers/, tokens/ of rgb and depth at 16 and 32 pixels and captions, and old/, a model of depth and rgb."""
    root = tmp_path_factory.mktemp("dataset")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    for name in ("depth", "rgb"):
        modality = registry().modality(name)(**GRID)
        modality.tokenizer = build(modality.tokenizer_config(NET, NET)).eval()
        save_tokenizer(modality, root / "tokenizers" / "modalities" / name)
        for k in range(6):
            value = rng.integers(0, 255, (40, 40, 3), np.uint8) if name == "rgb" else rng.random((40, 40), np.float32)
            modality.write(value, root / "values" / name / f"{k}.png")
    for k in range(6):
        path = root / "values" / "caption" / f"{k}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXTS[k % 3])
    words(*TEXTS).save(root / "tokenizers" / "vocabulary.json")
    larger: dict[str, Any] = {"larger": [32]}
    settings = {"depth": larger, "rgb": larger, "caption": {"length": 12}}
    tokenize_dataset(root / "values", lambda: build_set(settings, root / "tokenizers"), root / "tokens")
    modalities = build_set({"depth": {}, "rgb": {}}, root / "tokenizers")
    am.AnyModel(modalities, SIZE).save_pretrained(root / "old")
    return root


def configured(
    root: Path, modalities: dict[str, Any], masking: dict[str, Any] | None = None, **keys: Any
) -> TrainConfig:
    training = {"steps": 4, "batch_size": 4, "lr": 1e-2, "precision": "float32", "save_every": 2}
    masking = masking or {"components": [{"inputs": {"*": 1}, "targets": {"*": 1}}], "input_tokens": 6}
    raw = {
        "modalities": modalities,
        "tokenizers": str(root / "tokenizers"),
        "data": str(root / "tokens"),
        "model": {"dim": 32, "encoder_depth": 1, "decoder_depth": 2, "heads": 2},
        "masking": {"target_tokens": 8, **masking},
        "training": {**training, **keys.pop("training", {})},
        **keys,
    }
    return structure(raw, TrainConfig, "here")


SET = {"depth": {}, "rgb": {}, "caption": {"length": 12}}


def weights(model: am.AnyModel) -> dict[str, torch.Tensor]:
    return {part.name: part.tensor for part in parts(model.transformer)}


def test_weights_that_wait_move_later_and_resuming_is_exact(dataset, tmp_path):
    start = {"model": str(dataset / "old"), "freeze": ["encoder.*", "decoder.*"], "freeze_steps": 3}
    whole = train(configured(dataset, SET, start=start, training={"ema": 0.5}), tmp_path / "whole")
    before = weights(am.load(dataset / "old", device="cpu"))
    early = stored_tensors(tmp_path / "whole" / "checkpoints" / "step-00000002")
    name = "encoder.0.attn.qkv.weight"
    assert torch.equal(early[f"model/{name}"], before[name]) and not torch.equal(weights(whole)[name], before[name])
    first = configured(dataset, SET, start=start, training={"ema": 0.5, "max_minutes": 1e-6})
    for _ in range(4):
        train(first, tmp_path / "parts", resume=True)
    parts_ = train(configured(dataset, SET, start=start, training={"ema": 0.5}), tmp_path / "parts", resume=True)
    assert all(torch.equal(tensor, weights(parts_)[name]) for name, tensor in weights(whole).items())


def test_frozen_weights_stay_and_are_not_in_checkpoints(dataset, tmp_path):
    start = {"model": str(dataset / "old"), "freeze": ["encoder.*", "decoder.*"]}
    model = train(configured(dataset, SET, start=start, training={"ema": 0.5}), tmp_path)
    before, after = weights(am.load(dataset / "old", device="cpu")), weights(model)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert (
        still >= {name for name in before if name.startswith(("encoder.", "decoder."))} and "outputs.rgb" not in still
    )
    stored = stored_tensors(tmp_path / "checkpoints" / "step-00000004")
    assert not [name for name in stored if name.split("/")[1].startswith(("encoder.", "decoder."))]
    assert (tmp_path / "start.json").exists()


def test_adapters_are_small_and_merged(dataset, tmp_path):
    lora = {"rank": 2, "keep": True, "dropout": 0.1}
    start = {"model": str(dataset / "old"), "lora": lora}
    two = {"depth": {}, "rgb": {}}
    model = train(configured(dataset, two, start=start), tmp_path)
    stored = stored_tensors(tmp_path / "checkpoints" / "step-00000004")
    assert stored and all("lora_" in name for name in stored)
    before, after = weights(am.load(dataset / "old", device="cpu")), weights(am.load(tmp_path / "model", device="cpu"))
    assert before.keys() == after.keys() and torch.equal(before["outputs.rgb"], after["outputs.rgb"])
    changed = after["encoder.0.attn.qkv.weight"] - before["encoder.0.attn.qkv.weight"]
    assert torch.linalg.matrix_rank(changed) == 2
    applied = weights(with_adapters(am.load(dataset / "old", device="cpu"), tmp_path / "adapters"))
    assert all(torch.allclose(applied[name], tensor, atol=1e-6) for name, tensor in after.items())
    assert model is not None and LoraConfig(**lora).keep


@pytest.mark.parametrize("keys", [{"lora": {"rank": 2}}, {"freeze": ["encoder.*"]}], ids=lambda keys: next(iter(keys)))
def test_a_run_does_not_go_on_with_other_weights_that_never_change(dataset, tmp_path, keys):
    base = tmp_path / "base"
    am.load(dataset / "old", device="cpu").save_pretrained(base)
    config = configured(dataset, {"depth": {}, "rgb": {}}, start={"model": str(base), **keys}, training={"steps": 2})
    train(config, tmp_path / "run")
    longer = attrs.evolve(config, training=attrs.evolve(config.training, steps=3))
    assert train(longer, tmp_path / "run", resume=True) is not None
    other = am.load(base, device="cpu")
    with torch.no_grad():
        other.transformer.get_parameter("encoder.0.attn.qkv.weight").mul_(1.01)
    other.save_pretrained(base)
    with pytest.raises(ConfigError, match=r"frozen_weights was .*; resume it as it was"):
        train(attrs.evolve(longer, training=attrs.evolve(config.training, steps=4)), tmp_path / "run", resume=True)


@pytest.mark.parametrize("given", [None, {}, {"decoder_depth": 2}], ids=["none", "empty", "a part"])
def test_a_run_has_the_shape_of_the_model_that_it_starts_from(dataset, tmp_path, given):
    keys = {"model": given, "start": {"model": str(dataset / "old")}}
    model = train(configured(dataset, SET, **keys, training={"steps": 2}), tmp_path)
    assert model is not None and model.transformer.config == SIZE
    state = json.loads((tmp_path / "checkpoints" / "step-00000002" / "state.json").read_text())
    assert state["fingerprint"]["model"] == attrs.asdict(SIZE)
    assert train(configured(dataset, SET, **keys, training={"steps": 3}), tmp_path, resume=True) is not None


def test_a_run_may_be_larger_than_the_model_that_it_starts_from(dataset, tmp_path):
    keys = {"model": {"dim": 64, "decoder_depth": 3}, "start": {"model": str(dataset / "old"), "grow": True}}
    model = train(configured(dataset, SET, **keys, training={"steps": 2}), tmp_path)
    larger = attrs.evolve(SIZE, dim=64, heads=4, decoder_depth=3)
    assert model is not None and model.transformer.config == larger
    report = json.loads((tmp_path / "start.json").read_text())
    assert "outputs.rgb" in report["taken"] and "outputs.text" in report["new"]
    assert train(configured(dataset, SET, **keys, training={"steps": 3}), tmp_path, resume=True) is not None
    assert plan(configured(dataset, SET, **keys)).model == larger


def test_a_model_that_grows_is_no_narrower_than_one_head(dataset):
    keys = {"model": {"dim": 4}, "start": {"model": str(dataset / "old"), "grow": True}}
    with pytest.raises(ConfigError, match=r"grows and does not shrink: dim of .* is 32, and model.dim makes it 4"):
        completed(configured(dataset, SET, **keys))


def test_a_shape_that_is_given_must_be_that_of_the_model(dataset, tmp_path):
    start = {"model": str(dataset / "old")}
    for given, message in (
        ({"encoder_depth": 3}, r"encoder_depth is 1, this model's is 3; .* model to null .* or start.grow to true"),
        ({"dim": 36, "heads": 3}, "its dim is 32, this model's is 36"),
        ({"heads": 3}, "model does not fit .*old, which the run starts from: dim 32 is not a multiple of 3 heads"),
    ):
        with pytest.raises((CheckpointError, ConfigError), match=message):
            train(configured(dataset, SET, model=given, start=start), tmp_path)
    with pytest.raises(ConfigError, match="model must be given"):
        configured(dataset, SET, model=None)
    with pytest.raises(CheckpointError, match="'tinny' is neither a preset"):
        completed(configured(dataset, SET, model=None, start={"model": "tinny"}))


def test_what_is_printed_of_a_run_says_the_shape_in_use(dataset, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    raw = plain_config(configured(dataset, SET, start={"model": str(dataset / "old")}))
    path.write_text(yaml.safe_dump({**raw, "model": None}))
    assert command("train", path, "--dry-run") == 0
    assert "width 32, 1 encoder and 2 decoder blocks, 2 heads" in capsys.readouterr().out
    assert command("train", path, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"] == attrs.asdict(SIZE)
    assert command("train", path, "--print-config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"] == attrs.asdict(SIZE)
    with pytest.raises(ConfigError, match=r"model leaves its shape to .*old"):
        load_config(path, TrainConfig).shape  # noqa: B018 - nothing has read it


def test_all_numbers_of_a_model_may_be_given():
    given, whole = (get_type_hints(kind) for kind in (GivenShape, ModelConfig))
    assert given == {name: kind | None for name, kind in whole.items()}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"depth": 0, "rgb": 0, "caption": 0},
            "is 0 for all that is predicted, 'depth', 'rgb' and 'caption', so nothing",
        ),
        ({"dept": 1}, "stream_weights names 'dept', which is not in the set; did you mean 'depth'"),
    ],
)
def test_weights_with_which_nothing_is_learned_are_refused(dataset, tmp_path, weights, message):
    config = configured(dataset, SET, stream_weights=weights)
    for begin in (lambda: plan(config), lambda: train(config, tmp_path)):
        with pytest.raises(ConfigError, match=message):
            begin()


def test_what_is_not_predicted_may_have_no_weight(dataset):
    masking = {"components": [{"inputs": {"*": 1}, "targets": {"depth": 1, "rgb": 0}}]}
    plan(configured(dataset, SET, masking, stream_weights={"rgb": 0, "caption": 0}))
    with pytest.raises(ConfigError, match="is 0 for all that is predicted, 'depth', so nothing would be learned"):
        plan(configured(dataset, SET, masking, stream_weights={"depth": 0}))


FINE = {"depth": {"larger": [32]}, "rgb": {"larger": [32]}, "caption": {"length": 12}}


def test_a_set_with_a_finer_size_is_trained_and_upscales(dataset, tmp_path):
    component = {
        "inputs": {"rgb": 5, "rgb.32": 5, "*": 0.05},
        "targets": {"rgb.32": 5, "depth.32": 1},
        "input_tokens": [8, 24],
    }
    masking = {"scheme": "fourm", "target_tokens": 16, "components": [component]}
    config = configured(dataset, FINE, masking, start={"model": str(dataset / "old")}, workers=0)
    fine = train(config, tmp_path)
    assert fine is not None and {"rgb.32", "depth.32", "rgb.pixels_32"} <= set(fine.modalities.layout.index)
    coarse = am.load(dataset / "old", device="cpu")
    picture = np.full((50, 40, 3), 90, np.uint8)
    outputs = coarse.generate({"rgb": picture}, "depth")
    larger = am.load(tmp_path / "model", device="cpu").upscale(outputs, "depth", steps=2)
    assert outputs["depth"].shape == (16, 16) and larger["depth"].shape == (32, 32)
    made = coarse.generate({"depth": outputs["depth"]}, "rgb", steps=2)
    assert am.load(tmp_path / "model", device="cpu").upscale(made, steps=2)["rgb"].shape == (32, 32, 3)


def test_finer_tokens_are_those_of_the_value_at_that_size(dataset):
    modalities = build_set(FINE, dataset / "tokenizers")
    store = TokenStore(dataset / "tokens")
    value = modalities["rgb"].read(dataset / "values" / "rgb" / "3.png")
    fine = registry().modality("rgb")(**{**GRID, "size": 32})
    fine.tokenizer = modalities["rgb"].tokenizer
    alone = fine.tokenize([fine.crop(value, Crop.center(40, 40))])
    assert np.array_equal(store.sample(3)["rgb.32"], alone["rgb"][0])
    assert np.allclose(store.sample(3)["rgb.pixels_32"], alone["rgb.pixels"][0], atol=2e-3)
    assert len(store.sample(3)["rgb"]) == 4 and len(store.sample(3)["depth.32"]) == 16
