"""Several processes score as one does, vectors of a reference come first, and every task of scenes has its scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_set
from layouts_made import make_coco_instances, make_imagenet
from PIL import Image

import anymodal as am
from anymodal.errors import ConfigError, DataError
from anymodal.evaluation import TASKS, run
from anymodal.model import ModelConfig
from anymodal.nn.device import one_thread

HOW = {"steps": 1, "temperature": 1.0}
VECTORS = {"channels": 8, "codebooks": 4, "codebook": 16, "latent": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("rgb", "semseg", "caption"):
        (root / name).mkdir()
    for k in range(7):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(root / f"rgb/{k}.png")
        Image.fromarray(rng.integers(0, 5, (40, 48), np.uint8)).save(root / f"semseg/{k}.png")
        (root / f"caption/{k}.txt").write_text(f"a picture with the number {k}")
    (root / "rgb/3.png").write_bytes(b"nothing")
    return root


@pytest.fixture(scope="module")
def seeing(vocabulary) -> am.AnyModel:
    """A model that makes vectors of pictures and captions."""
    from anymodal.plugins import registry
    from anymodal.tokenizers.tokenizer import VQTokenizer

    torch.manual_seed(2)
    others = build_set(["rgb", "caption", "semseg"], vocabulary)
    made = []
    for name in ("imagebind_global", "dinov2_global"):
        vector = registry().modality(name)(**VECTORS)
        small = {"width": 16, "blocks": 1}
        vector.tokenizer = VQTokenizer(vector.tokenizer_config(small, small)).eval()
        made.append(vector)
    model = am.AnyModel(am.ModalitySet([*others, *made], vocabulary), ModelConfig(dim=32, encoder_depth=1, heads=2))
    with torch.no_grad():
        model.transformer.output_table.mul_(8)
    model.transformer.requires_grad_(False)
    return model


@pytest.mark.slow
def test_two_processes_find_what_one_does(data, checkpoint, tmp_path):
    for count in (1, 2):
        with one_thread():
            am.evaluate("semseg", data, checkpoint, out=tmp_path / str(count), batch=2, processes=count, **HOW)
    for name in ("report.json", "report.md", "sheet.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert "semseg" in json.loads((tmp_path / "2/report.json").read_text())["task"]


def test_processes_need_the_name_of_a_model(data, small_model):
    with pytest.raises(ConfigError, match="the name of the model"):
        am.evaluate("semseg", data, small_model, processes=2)


def test_results_come_in_the_order_of_the_jobs():
    jobs = [(False, k, k + 1) for k in range(5)]
    done = [jobs[k] for k in (2, 0, 1, 4, 3)]
    assert list(run._in_order(jobs, iter([(job, job[1]) for job in done]))) == [(k + 1, k) for k in range(5)]


def test_a_search_finds_the_places_that_all_products_give(data, seeing):
    found = am.evaluate("retrieval", data, seeing, batch=2, seed=1)
    model, names = seeing, [k for k in range(7) if k != 3]  # its picture cannot be read

    def vectors(inputs: list[dict], numbers: list[int]) -> np.ndarray:
        made = model.generate_batch(inputs, "imagebind_global", seed=[1 + k for k in numbers])
        return np.stack([each["imagebind_global"] / np.linalg.norm(each["imagebind_global"]) for each in made])

    kept = vectors([{"rgb": data / f"rgb/{k}.png"} for k in names], names).astype(np.float16).astype(np.float64)
    asked = vectors([{"caption": (data / f"caption/{k}.txt").read_text()} for k in range(7)], list(range(7)))
    places = []
    for k, row in enumerate(asked @ kept.T):  # of equal ones the first row comes first
        own = names.index(k) if k in names else 0
        places.append((row > row[own]).sum() + (row[:own] == row[own]).sum() + 1 if k in names else 99)
    assert found.scores["model"]["recall1"] == pytest.approx(np.mean([p == 1 for p in places]))
    assert found.scores["model"]["recall5"] == pytest.approx(np.mean([p <= 5 for p in places]))
    assert sum(each.count for each in found.problems) == 1 and "bound" not in found.scores


def test_an_interrupted_reference_goes_on(seeing, tmp_path, monkeypatch):
    root = make_imagenet(tmp_path / "imagenet")
    task = TASKS({"name": "imagenet_knn", "neighbors": 2})
    whole = am.evaluate(task, root, seeing, out=tmp_path / "whole", batch=2)
    assert set(whole.scores) == {"model", "constant", "shuffled"} and whole.samples == 3
    assert whole.scores["constant"]["top1"] == pytest.approx(2 / 3)
    kept = run.Scorer.vectors
    calls = []

    def dying(self, numbers):
        calls.append(numbers)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(self, numbers)

    monkeypatch.setattr(run, "ROWS", 1)
    with monkeypatch.context() as patched:
        patched.setattr(run.Scorer, "vectors", dying)
        with pytest.raises(KeyboardInterrupt):
            am.evaluate(task, root, seeing, out=tmp_path / "part", batch=2)
    assert json.loads((tmp_path / "part/progress.json").read_text())["known"] == 2
    with monkeypatch.context() as patched:
        patched.setattr(run.Scorer, "vectors", lambda self, numbers: (calls.append(numbers), kept(self, numbers))[1])
        found = am.evaluate(task, root, seeing, out=tmp_path / "part", batch=2)
    assert [list(each) for each in calls[2:]] == [[2, 3]] and found.scores == whole.scores
    assert (tmp_path / "part/report.json").read_bytes() == (tmp_path / "whole/report.json").read_bytes()
    assert not (tmp_path / "part/reference").exists()


@pytest.mark.slow
def test_boxes_and_outlines_of_coco_are_scored(tmp_path):
    root, model = make_coco_instances(tmp_path), am.load("tiny")
    found = am.evaluate("coco_det", root, model, batch=2)
    assert found.samples == 3 and found.scores["bound"]["ap50"] == pytest.approx(1) and len(found.problems) == 0
    found = am.evaluate("coco_instance", root, model, batch=2)
    assert found.samples == 2 and found.scores["bound"]["miou"] > 0.7
    assert found.scores["constant"]["miou"] > 0.7  # two of the three fill their boxes, one of two pieces does not


def test_options_of_tasks_are_checked(data, seeing):
    with pytest.raises(ConfigError, match="40 or 13"):
        TASKS({"name": "nyu_semseg", "classes": 12})
    with pytest.raises(ConfigError, match="at least 0"):
        TASKS({"name": "imagenet_knn", "each": -1})
    with pytest.raises(ConfigError, match="has no 'clases'"):
        TASKS({"name": "nyu_semseg", "clases": 40})
    with pytest.raises(DataError, match="no folders train and val"):
        am.evaluate("imagenet_knn", data, seeing)
