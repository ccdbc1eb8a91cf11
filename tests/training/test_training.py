"""The whole line on real parts: scenes, tokenizers, a tokenized dataset, a model, and interrupted runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from anymodal_scenes import write
from small_runs import GRID, STEPS, VIT, WORDS, command, model_config, stored_tensors, trained_tokenizer

import anymodal as am
from anymodal.config import load_config, structure
from anymodal.data.files.values import open_values
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.order import EpochOrder
from anymodal.data.store.reader import TokenStore
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.files import only_writer
from anymodal.plugins.registry import registry
from anymodal.training.fingerprint import check_same_run
from anymodal.training.log import read_log
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.run import train
from anymodal.training.settings import TrainingSettings
from anymodal.training.teachers.config import TeacherRun
from anymodal.training.tokenizers.config import TokenizerRun

RECIPES = Path(__file__).parents[2] / "recipes" / "tiny"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write(root, 10, seed=3, size=32, workers=1)
    return root


@pytest.fixture(scope="module")
def line(scenes: Path, tmp_path_factory) -> Path:
    """Tokenizers and tokens made by the commands, and the configuration of a model."""
    work = tmp_path_factory.mktemp("line")
    settings = {"depth": {"scaling": "log", "low": 0.4, "high": 80.0}, "canny_edge": {}, "rgb": {}}
    for name, own in settings.items():
        keys = {"modality": name, "settings": {**GRID, **own}}
        trained_tokenizer(scenes, work / "tokenizers", encoder=VIT, decoder=VIT, **keys)
    trained_tokenizer(scenes, work / "tokenizers", **WORDS)
    targets = dict.fromkeys(("depth", "caption", "color_palette", "canny_edge"), 1)
    model_config(
        work / "model.yaml",
        {"depth": {}, "canny_edge": {}, "rgb": {}, "caption": {"length": 32}, "color_palette": {}},
        [
            {"inputs": {"rgb.pixels": 1}, "targets": targets},
            {"inputs": {"caption": 1}, "targets": {"rgb": 1}, "keep": {"caption": "all"}},
        ],
        input_tokens=20,
        target_tokens=24,
        training={**STEPS, "steps": 6, "ema": 0.9, "save_every": 2},
    )
    assert command("tokenize", scenes, "--config", work / "model.yaml", "--out", work / "tokens") == 0
    return work


def test_a_trained_model_generates_from_the_command_line(line, scenes, tmp_path):
    assert command("train", line / "model.yaml", "--out", tmp_path / "run") == 0
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5, 6] and all(np.isfinite(row["loss"]) for row in log)
    assert any("loss.depth" in row for row in log)
    picture = next((scenes / "rgb").iterdir())
    arguments = (
        "generate",
        f"rgb={picture}",
        "--to",
        "all",
        "--model",
        tmp_path / "run" / "model",
        "--out",
        tmp_path / "out",
    )
    assert command(*arguments) == 0
    assert (tmp_path / "out" / "grid.png").exists()


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(line, tmp_path):
    whole = train(load_config(line / "model.yaml", TrainConfig), tmp_path / "whole")
    first = load_config(line / "model.yaml", TrainConfig, ["training.max_minutes=1.0e-6"])
    for _ in range(6):  # every call stops after one step
        train(first, tmp_path / "parts", resume=True)
    parts = train(load_config(line / "model.yaml", TrainConfig), tmp_path / "parts", resume=True)
    for (name, a), b in zip(
        whole.transformer.state_dict().items(), parts.transformer.state_dict().values(), strict=True
    ):
        assert np.array_equal(a.numpy(), b.numpy()), name


def test_a_setting_that_is_newer_than_a_checkpoint_is_as_it_is_now(tmp_path):
    settings = TrainingSettings(steps=1, batch_size=1, lr=1e-3)
    now = {"model": {"dim": 8}, "spaces": {"rgb": {"size": 5, "learned": False}}}
    for before in ({}, {"model": {}}, {"spaces": {"rgb": {"size": 5}}}):
        check_same_run(tmp_path, {"fingerprint": before}, settings, now)
    for before in ({"spaces": {}}, {"spaces": {"rgb": {"size": 6}}}, {"model": {"dim": 9}}):
        with pytest.raises(ConfigError, match="was made with other settings"):
            check_same_run(tmp_path, {"fingerprint": before}, settings, now)


def test_a_run_keeps_its_folder_to_itself_and_its_modalities_in_order(line, tmp_path):
    out = tmp_path / "out"
    config = load_config(line / "model.yaml", TrainConfig, ["training.steps=2"])
    with only_writer(out), pytest.raises(DataError, match=f"another run is writing to {out}"):
        train(config, out)
    assert not out.exists()
    train(config, out)
    with pytest.raises(ConfigError, match=r"with other settings: model\.heads was 2, is 4; resume it as it was"):
        train(attrs.evolve(config, model=attrs.evolve(config.model, heads=4)), out, resume=True)
    turned = attrs.evolve(config, modalities=dict(reversed(config.modalities.items())))
    with pytest.raises(ConfigError, match=r"was made with other settings: streams was .*; resume it as it was"):
        train(turned, out, resume=True)
    with pytest.raises(CheckpointError, match="already holds a run"):
        train(turned, out)
    assert [path.name for path in out.iterdir() if path.name.startswith("start")] == []


def test_the_result_may_be_the_best_of_the_run(line, tmp_path):
    keys = [f"evaluation={{data: {line / 'tokens'}, every: 1, samples: 4}}", "training.lr=0.3", "training.steps=4"]
    best = ["checkpoints.best=1", "checkpoints.result=best"]
    model = train(load_config(line / "model.yaml", TrainConfig, [*keys, *best]), tmp_path)
    losses = [record["loss"] for record in read_log(tmp_path / "evaluation.jsonl")]
    assert min(losses) < losses[-1]
    step = losses.index(min(losses)) + 1
    stored = stored_tensors(tmp_path / "checkpoints" / f"step-{step:08d}")
    averages = {name.removeprefix("average/"): t for name, t in stored.items() if name.startswith("average/")}
    assert all(torch.equal(tensor, averages[name]) for name, tensor in model.transformer.state_dict().items())
    read = am.load(tmp_path / "model", device="cpu").transformer.context_proj.weight
    assert torch.equal(read, averages["context_proj.weight"])
    for missing, hint in ((keys, "set checkpoints.best to 1"), (best[:1], "add evaluation")):
        with pytest.raises(ConfigError, match=hint):
            load_config(line / "model.yaml", TrainConfig, [*missing, best[1]])


def test_held_out_data_may_lack_modalities_and_be_damaged(line, scenes, tmp_path):
    held_out = tmp_path / "held-out"
    for name in ("rgb", "caption"):
        shutil.copytree(scenes / name, held_out / name)
    min((held_out / "rgb").iterdir()).write_bytes(b"not a picture")
    wanted = f"evaluation={{data: {held_out}, every: 2, samples: 4, pictures: 2}}"
    config = load_config(line / "model.yaml", TrainConfig, ["training.steps=2", wanted])
    train(config, tmp_path / "out")
    (record,) = read_log(tmp_path / "out" / "evaluation.jsonl")
    assert "loss.caption" in record and not any("depth" in name for name in record)
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 1
    many = attrs.evolve(config, evaluation=attrs.evolve(config.evaluation, pictures=500))
    with pytest.raises(ConfigError, match=r"evaluation.pictures is 500, but .*held-out has \d+ samples; ask for fewer"):
        train(many, tmp_path / "many")


def test_a_component_that_fits_no_held_out_sample_has_no_loss(line, scenes, tmp_path):
    """The second component reads captions, which the held-out samples lack; datasets of their own count by weight."""
    held_out = tmp_path / "held-out"
    for name in ("rgb", "depth"):
        shutil.copytree(scenes / name, held_out / name)
    masking = "{components: [{inputs: {depth: 1}, targets: {rgb: 1}}], input_tokens: 8, target_tokens: 8}"
    mixed = f"[{held_out}, {{path: {held_out}, weight: 3, masking: {masking}}}]"
    for data, parts in ((held_out, {"component.0": 1}), (mixed, {"component.0": 0.25, "component.own": 0.75})):
        wanted = f"evaluation={{data: {data}, every: 2, samples: 8}}"
        config = load_config(line / "model.yaml", TrainConfig, ["training.steps=2", wanted])
        train(config, tmp_path / f"out-{len(parts)}")
        (record,) = read_log(tmp_path / f"out-{len(parts)}" / "evaluation.jsonl")
        assert {name for name in record if name.count(".") == 1 and name.startswith("component")} == {*parts}
        assert record["loss"] == pytest.approx(sum(record[name] * share for name, share in parts.items()))
        assert "component.0.rgb" not in record


def test_tokens_on_disk_are_those_of_the_modalities(line, scenes):
    from anymodal.training.multimodal.config import build_set

    config = load_config(line / "model.yaml", TrainConfig)
    modalities, store = build_set(config.modalities, config.tokenizers), TokenStore(line / "tokens")
    source = open_values(scenes, modalities)
    assert len(store) == len(source) == 10
    for index in (0, 7):
        values, sample = source.read(index), store.sample(index)
        for modality in modalities:
            for stream, arrays in modality.tokenize([values[modality.name]]).items():
                assert np.allclose(sample[stream], arrays[0], atol=2e-3), stream


def test_a_sample_may_lack_modalities(line, scenes, tmp_path):
    import shutil

    from anymodal.training.multimodal.config import build_set

    part = tmp_path / "part"
    for name in ("rgb", "caption"):
        shutil.copytree(scenes / name, part / name)
    for path in sorted((part / "caption").iterdir())[:4]:
        path.unlink()
    config = load_config(line / "model.yaml", TrainConfig)
    modalities = build_set(config.modalities, config.tokenizers)
    tokenize_dataset(part, lambda: modalities, tmp_path / "tokens", batch=3)
    store = TokenStore(tmp_path / "tokens")
    assert "caption" not in store.sample(0) and "caption" in store.sample(5) and "depth" not in store.sample(5)
    assert "canny_edge" in store.sample(0)  # derived from rgb
    changed = ["training.steps=2", f"data={tmp_path / 'tokens'}"]
    assert train(load_config(line / "model.yaml", TrainConfig, changed), tmp_path / "run") is not None


def test_epochs_visit_every_sample_once_in_a_new_order():
    order = EpochOrder(10, 4, seed=1)
    indices = [i for step in range(10) for i in order(step)]
    epochs = [indices[k : k + 10] for k in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and len({tuple(e) for e in epochs}) == 4
    assert EpochOrder(10, 4, seed=1)(7) == indices[28:32]


def test_damaged_and_missing_data_is_named(line, scenes, tmp_path):
    rgb = registry().modality("rgb")(size=32, patch=8)
    with pytest.raises(DataError, match="no such folder"):
        open_values(tmp_path / "none", [rgb])
    (tmp_path / "empty" / "other").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no files for rgb; its folders: other"):
        open_values(tmp_path / "empty", [rgb])
    with pytest.raises(DataError, match="not a tokenized dataset"):
        TokenStore(scenes)
    with pytest.raises(DataError, match="was made with other settings"):
        tokenize_dataset(scenes, lambda: am.ModalitySet([rgb]), line / "tokens")
    assert set(TokenStore(line / "tokens").streams) == {
        "depth",
        "canny_edge",
        "rgb.pixels",
        "rgb",
        "caption",
        "color_palette",
    }


def test_the_committed_recipes_are_valid():
    for path in RECIPES.glob("*.yaml"):
        load_config(path, TrainConfig if path.stem in ("model", "pictures") else TokenizerRun)
    for path in (RECIPES / "teachers").glob("*.yaml"):
        load_config(path, TeacherRun)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.stpes=3", "unknown key 'training.stpes'; did you mean 'steps'"),
        ("model.dim=wide", "model.dim must be a whole number, got 'wide'"),
        ("model.dim=30", "multiple"),
        ("training.lr=-1", "lr"),
        ("masking.components=[{inputs: {rgb: 1}, target: {}}]", "did you mean 'targets'"),
        ("nonsense", "key.part=value"),
        ("training=5", "training"),
    ],
)
def test_wrong_configurations_name_the_key(line, override, words):
    with pytest.raises(ConfigError, match=words.replace(".", r"\.").replace("'", ".")):
        load_config(line / "model.yaml", TrainConfig, [override])


def test_a_folder_of_tokenizers_that_is_not_there_is_named(line, tmp_path):
    config = load_config(line / "model.yaml", TrainConfig, [f"tokenizers={tmp_path / 'none'}"])
    with pytest.raises(ConfigError, match=r"tokenizers names .*none, which is no folder"):
        train(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_keys_and_wrong_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="modality"):
        structure({"data": "x"}, TokenizerRun, "here")
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.yaml", TrainConfig)
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(tmp_path / "bad.yaml", TrainConfig)
    (tmp_path / "hostile.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(tmp_path / "hostile.yaml", TrainConfig)
