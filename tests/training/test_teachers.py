"""Teachers: pairs find each other, views agree without all pictures looking alike, and towers survive their folder."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from anymodal_scenes import BASIC, write
from forked import Forked
from processor_time import patience
from torch import nn

from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.teachers import PictureTower, load_tower, save_tower
from anymodal.teachers.config import TowerConfig
from anymodal.teachers.towers import TextTower
from anymodal.text import Vocabulary
from anymodal.training.teachers.config import TeacherRun
from anymodal.training.teachers.objectives import Contrastive, Distillation
from anymodal.training.teachers.run import train_teacher

SMALL = TowerConfig(size=16, patch=8, dim=16, depth=1, heads=2, embedding=8)


def adam(module: nn.Module, batches: list, steps: int) -> list[dict[str, float]]:
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 5e-3)
    history = []
    for step in range(steps):
        metrics = module(batches[step % len(batches)])
        optimizer.zero_grad()
        metrics["loss"].backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in metrics.items()})
    return history


def test_pairs_learn_to_find_each_other():
    torch.manual_seed(0)
    colors = torch.rand(12, 3, 1, 1)
    pair = {"picture": colors.expand(12, 3, 16, 16).contiguous(), "text": torch.arange(1, 13)[:, None]}
    history = adam(Contrastive({"picture": PictureTower(SMALL), "text": TextTower(SMALL, 20, 4)}), [pair], 80)
    assert history[0]["loss"] > 2 and history[-1]["loss"] < 0.7 and history[-1]["found.text"] >= 0.8


def test_padding_does_not_change_what_a_text_means():
    tower = TextTower(SMALL, 20, 6).eval()
    alone, padded = torch.tensor([[4, 7, 2]]), torch.tensor([[4, 7, 2, 0, 0]])
    assert torch.allclose(tower(torch.cat([alone, torch.zeros(1, 2, dtype=torch.long)], 1)), tower(padded))
    assert torch.isfinite(tower(torch.zeros(1, 3, dtype=torch.long))).all()


def test_views_agree_while_pictures_stay_apart():
    torch.manual_seed(0)
    colors = torch.rand(16, 1, 3, 1, 1) * 2 - 1
    views = (colors + 0.1 * torch.randn(16, 2, 3, 16, 16)).clamp(-1, 1)
    model = Distillation(PictureTower(SMALL), prototypes=32, momentum=0.9)
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    history = adam(model, [views], 150)
    assert history[-1]["views"] < 0.8 * history[0]["views"]
    assert history[-1]["entropy"] > 0.3, "the answers of all pictures are alike"
    assert any(not torch.equal(value, before[name]) for name, value in model.teacher.state_dict().items())
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_a_tower_survives_its_folder(tmp_path):
    tower = PictureTower(SMALL).eval()
    again = load_tower(save_tower(tower, tmp_path / "tower"))
    x = torch.rand(2, 3, 16, 24)
    assert torch.equal(tower.features(x), again.features(x)) and again.features(x).shape == (2, 6, 16)
    (tmp_path / "tower" / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_tower(tmp_path / "tower")
    (tmp_path / "tower" / "config.json").write_text('{"format": "else"}')
    with pytest.raises(CheckpointError, match="does not describe a teacher"):
        load_tower(tmp_path / "tower")


@pytest.mark.parametrize(
    ("objective", "names"), [("contrastive", ["rgb", "caption", "depth"]), ("distillation", ["rgb"])]
)
def test_a_run_from_a_configuration(tmp_path, objective, names):
    write(tmp_path / "scenes", 8, seed=1, size=32, workers=1, kinds=BASIC)
    texts = [p.read_text() for p in (tmp_path / "scenes" / "caption").iterdir()]
    Vocabulary.train(texts, 400, bins=8, sentinels=8).save(tmp_path / "vocabulary.json")
    settings = {
        "rgb": {"size": 16, "patch": 8},
        "caption": {"length": 24},
        "depth": {"size": 16, "patch": 8, "high": 80.0},
    }
    raw = {
        "data": str(tmp_path / "scenes"),
        "modalities": {name: settings[name] for name in names},
        "objective": objective,
        "tower": attrs.asdict(SMALL),
        "training": {"steps": 3, "batch_size": 4, "lr": 1e-3, "ema": 0.9, "precision": "float32"},
        "vocabulary": str(tmp_path / "vocabulary.json"),
    }
    folder = train_teacher(structure(raw, TeacherRun, "here"), tmp_path / "teacher")
    assert load_tower(folder).config == attrs.evolve(SMALL, channels=3)
    with pytest.raises(ConfigError, match="it takes one, contrastive more"):
        structure({**raw, "objective": "contrastive", "modalities": {"rgb": {}}}, TeacherRun, "here")


def test_samples_that_lack_something_are_passed_over_and_bad_ones_told_of(tmp_path):
    data = tmp_path / "scenes"
    write(data, 8, seed=1, size=32, workers=1, kinds=BASIC)
    pictures, depths = sorted((data / "rgb").iterdir()), sorted((data / "depth").iterdir())
    depths[1].unlink()
    pictures[2].write_bytes(b"not a picture")
    raw = {
        "data": str(data),
        "modalities": {"rgb": {"size": 16, "patch": 8}, "depth": {"size": 16, "patch": 8, "high": 80.0}},
        "objective": "contrastive",
        "tower": attrs.asdict(SMALL),
        "training": {"steps": 2, "batch_size": 8, "lr": 1e-3, "precision": "float32", "max_bad": 0.5},
    }
    out = tmp_path / "teacher"
    assert train_teacher(structure(raw, TeacherRun, "here"), out) == out
    lines = (out / "run" / "problems.jsonl").read_text().splitlines()
    assert len(lines) >= 2 and all(pictures[2].name in line for line in lines)
    for path in depths[2:]:
        path.unlink()
    depths[0].unlink()
    with pytest.raises(DataError, match=r"has no"):
        train_teacher(structure(raw, TeacherRun, "here"), tmp_path / "none")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"smallest": 0.5}, "views.smallest was 0.3, is 0.5"),
        ({"tower": attrs.asdict(attrs.evolve(SMALL, heads=4))}, "tower.heads was 2, is 4"),
        ({"modalities": {"rgb": {"size": 24, "patch": 8}}}, "modalities.rgb.size was 16, is 24"),
    ],
)
def test_a_run_is_not_resumed_as_another_one(tmp_path, changed, told):
    write(tmp_path / "scenes", 2, seed=1, size=32, workers=1, kinds=BASIC)
    raw = {
        "data": str(tmp_path / "scenes"),
        "modalities": {"rgb": {"size": 16, "patch": 8}},
        "objective": "distillation",
        "tower": attrs.asdict(SMALL),
        "training": {"steps": 1, "batch_size": 2, "lr": 1e-3, "precision": "float32"},
    }
    train_teacher(structure(raw, TeacherRun, "here"), tmp_path / "teacher")
    longer = {**raw, "training": {**raw["training"], "steps": 2}}
    with pytest.raises(ConfigError, match=told):
        train_teacher(structure({**longer, **changed}, TeacherRun, "here"), tmp_path / "teacher", resume=True)
    assert train_teacher(structure(longer, TeacherRun, "here"), tmp_path / "teacher", resume=True)


def test_several_processes_are_refused(tmp_path):
    recipe = Path(__file__).parents[2] / "recipes/tiny/teachers/dinov2.yaml"
    ended = Forked("train-teacher", recipe, "--out", tmp_path / "out", processes=2)
    said, _ = ended.communicate(patience(200))
    assert ended.returncode and "a teacher is trained by one process, not 2; start it without torchrun" in said
    assert not (tmp_path / "out").exists()
