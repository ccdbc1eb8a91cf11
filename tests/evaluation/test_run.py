"""An evaluation as a whole: the scores an independent computation gives, whatever interrupts it, and what is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
from layouts_made import make_ade, make_coco, make_diode, make_imagenet, make_nyu, make_nyu_classes
from PIL import Image
from small_runs import command

import anymodal as am
from anymodal.data.sheet import GAP, TILE, TITLE
from anymodal.errors import ConfigError, DataError, GenerationError
from anymodal.evaluation import TASKS, Sample, SampleMean, Samples, Task, scoring
from anymodal.progress import shown
from anymodal.testing.tiny import tiny_model

PICTURES = 5
HOW = {"steps": 1, "temperature": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Pictures with all kinds of truths, at another size than the model's."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("rgb", "depth", "normal", "semseg", "caption"):
        (root / name).mkdir()
    for k in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(root / f"rgb/{k}.png")
        np.save(root / f"depth/{k}.npy", rng.uniform(0.1, 1, (40, 48)).astype(np.float32))
        normal = rng.standard_normal((40, 48, 3))
        np.save(root / f"normal/{k}.npy", (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32))
        Image.fromarray(rng.integers(0, 5, (40, 48), np.uint8)).save(root / f"semseg/{k}.png")
        (root / f"caption/{k}.txt").write_text(f"a picture with the number {k}")
    return root


@pytest.mark.parametrize("task", ["depth", "normal", "semseg", "caption"])
def test_scores_are_those_of_the_same_values_one_by_one(data, small_model, task):
    options = {} if task == "caption" else HOW
    found = am.evaluate(task, data, small_model, batch=3, seed=5, **options)
    metrics = [TASKS(task).metric(small_model.modalities[task]) for _ in range(2)]
    modality, ending = small_model.modalities[task], ".png" if task == "semseg" else ".npy"
    for k in range(PICTURES):
        given = {"rgb": data / f"rgb/{k}.png", task: data / f"{task}/{k}{'.txt' if task == 'caption' else ending}"}
        truth = small_model.accept(given)[task]
        made = small_model.generate({"rgb": given["rgb"]}, task, seed=5 + k, **options)[task]
        metrics[0].update(made, truth)
        metrics[1].update(modality.detokenize(modality.tokenize([truth])[task])[0], truth)
    assert found.samples == PICTURES and not len(found.problems)
    assert found.scores["model"] == pytest.approx(metrics[0].compute())
    assert found.scores["bound"] == pytest.approx(metrics[1].compute())
    assert found.scores["shuffled"].keys() == found.scores["constant"].keys() == found.scores["model"].keys()


@pytest.mark.parametrize(
    ("task", "make"),
    [
        ("diode_depth", make_diode),
        ("diode_normal", make_diode),
        ("nyu_depth", make_nyu),
        ("nyu_semseg", make_nyu_classes),
        ("coco_semseg", make_coco),
        ("coco_caption", make_coco),
        ("ade20k_semseg", make_ade),
    ],
)
def test_published_layouts_are_scored_as_by_hand(small_model, tmp_path, task, make):
    root, chosen = make(tmp_path), TASKS(task)
    options = {} if task == "coco_caption" else HOW
    found = am.evaluate(task, root, small_model, batch=2, seed=3, **options)
    samples, target = chosen.open(root, small_model.modalities), chosen.target
    metric, scored = chosen.metric(small_model.modalities[target]), 0
    for k in range(len(samples)):
        sample = samples.read(k)
        seen = small_model.accept({**sample.inputs, **({} if target == "caption" else {target: sample.truth})})
        made = small_model.generate(sample.inputs, target, seed=3 + k, **options)[target]
        scored += metric.update(made, seen.get(target, sample.truth)) is not None
    assert found.samples == scored and found.scores["model"] == pytest.approx(metric.compute())
    assert found.scores["bound"].keys() == found.scores["model"].keys()


def test_imagenet_is_scored_as_votes_by_hand(tmp_path):
    model, root, chosen = tiny_model(["rgb", "dinov2_global"]), make_imagenet(tmp_path), TASKS("imagenet_knn")
    found = am.evaluate("imagenet_knn", root, model, batch=2)

    def vectors(samples):
        return np.stack(
            [model.embed(samples.read(k).inputs, "dinov2_global", normalize=True) for k in range(len(samples))]
        )

    known, asked = chosen.reference(root, model.modalities, 0), chosen.open(root, model.modalities)
    votes = np.exp(vectors(asked) @ vectors(known).T / chosen.temperature)
    classes = np.array([known.read(k).truth for k in range(len(known))])
    best = [max(set(classes), key=lambda name: row[classes == name].sum()) for row in votes]
    right = [name == asked.read(k).truth for k, name in enumerate(best)]
    assert found.samples == 3 and found.scores["model"]["top1"] == pytest.approx(np.mean(right))
    assert found.scores["model"]["top5"] == 1  # of two classes


def test_an_interrupted_evaluation_goes_on_to_the_same_report(data, small_model, tmp_path, monkeypatch):
    data = shutil.copytree(data, tmp_path / "data")
    (data / "rgb/0.png").write_bytes(b"nothing")
    whole, part = tmp_path / "whole", tmp_path / "part"
    am.evaluate("semseg", data, small_model, out=whole, batch=2, **HOW)
    kept, calls = scoring.Scorer.generated, []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return kept(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(scoring.Scorer, "generated", dying)
        with pytest.raises(KeyboardInterrupt):
            am.evaluate("semseg", data, small_model, out=part, batch=2, **HOW)
    assert json.loads((part / "progress.json").read_text())["done"] == 4 and not (part / "report.json").exists()
    with pytest.raises(DataError, match="seed was 0, is 1"):
        am.evaluate("semseg", data, small_model, out=part, batch=2, seed=1, **HOW)
    weight = small_model.modalities["semseg"].tokenizer.decoder.out_proj.weight
    weight.data.neg_()
    with pytest.raises(DataError, match="decoder was"):
        am.evaluate("semseg", data, small_model, out=part, batch=2, **HOW)
    weight.data.neg_()
    calls.clear()
    with monkeypatch.context() as patched:
        patched.setattr(scoring.Scorer, "generated", lambda self, *a: (calls.append(1), kept(self, *a))[1])
        am.evaluate("semseg", data, small_model, out=part, batch=2, **HOW)
    assert len(calls) <= 2 + 6  # two batches, and the samples of the sheet
    for name in ("report.json", "report.md", "sheet.png"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()
    assert not (part / "progress.json").exists()


@pytest.mark.parametrize("damage", ["{", "[]", '{"settings": {}}'])
def test_damaged_progress_is_refused(data, small_model, tmp_path, damage):
    (tmp_path / "progress.json").write_text(damage)
    with pytest.raises(DataError, match=r"progress\.json|other settings"):
        am.evaluate("semseg", data, small_model, out=tmp_path, **HOW)


def test_bad_samples_are_counted_and_named_and_never_scored(data, small_model, tmp_path):
    bad = Path(shutil.copytree(data, tmp_path / "bad"))
    (bad / "depth/1.npy").write_bytes(b"nothing")
    (bad / "rgb/0.png").unlink()
    np.save(bad / "depth/4.npy", np.zeros((40, 48), np.float32))
    found = am.evaluate("depth", bad, small_model, out=tmp_path / "out", batch=2, **HOW)
    assert found.samples == PICTURES - 3 and sum(each.count for each in found.problems) == 3
    told = json.loads((tmp_path / "out/report.json").read_text())["problems"]
    examples = " ".join(example for each in told for example in each["examples"])
    assert all(word in examples for word in ("1.npy", "no file of 'rgb'", "4: nothing"))
    assert "samples left out" in (tmp_path / "out/report.md").read_text()
    for path in (bad / "depth").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of 5 samples"):
        am.evaluate("depth", bad, small_model, **HOW)


def test_a_model_that_cannot_do_the_task_is_told(data, small_model, seven):
    with pytest.raises(ConfigError, match="did you mean 'depth'"):
        am.evaluate("dpeth", data, small_model)
    with pytest.raises(GenerationError, match="does not read 'clip'"):
        am.evaluate(TASKS({"name": "depth", "inputs": ("clip",)}), data, small_model)
    with pytest.raises(GenerationError, match="both an input and the target"):
        am.evaluate(TASKS({"name": "depth", "inputs": ("depth",)}), data, small_model)
    with pytest.raises(ConfigError, match="batch is at least 2"):
        am.evaluate("depth", data, small_model, batch=1)


def test_a_task_of_ones_own_is_one_more_entry(small_model):
    class Made(Samples):
        notes = ("made up",)

        def __len__(self):
            return 4

        def name(self, number):
            return f"made {number}"

        def read(self, number):
            edges = np.zeros((32, 32), np.uint8)
            return Sample({"caption": f"number {number}"}, edges)

    @TASKS.add
    @attrs.frozen
    class Edges(Task):
        name: str = attrs.field(init=False, default="edges")
        inputs: tuple[str, ...] = ("caption",)
        target: ClassVar[str] = "canny_edge"

        def open(self, data, modalities):
            return Made()

        def metric(self, modality):
            return SampleMean(modality)

    try:
        found = am.evaluate("edges", "anywhere", small_model, count=3, batch=2, **HOW)
        assert found.samples == 3 and "model" in found.scores and "constant" not in found.scores
        assert "* made up" in found.markdown()
    finally:
        TASKS.remove("edges")


def test_a_modality_without_a_task_is_scored_by_its_own_score(sample_values, tmp_path):
    waves = am.signal("waves", shape=(32,), cell=(8,), rate=8, low=-1, high=1)
    ground = am.label_map("ground", classes=["soil", "water"])
    model = tiny_model(["rgb", waves, ground])
    rgb, target, other = model.modalities
    pictures, truths = sample_values(rgb)[:3], sample_values(target)[:3]
    for k, (picture, truth) in enumerate(zip(pictures, truths, strict=True)):
        rgb.write(picture, tmp_path / f"rgb/{k}.png")
        target.write(truth, tmp_path / f"waves/{k}.npy")
        other.write(np.zeros((32, 32), np.uint8), tmp_path / f"ground/{k}.png")
    found = am.evaluate({"name": "score", "target": "waves"}, tmp_path, model, batch=2, seed=7)
    made = [model.generate({"rgb": each}, "waves", seed=7 + k)["waves"] for k, each in enumerate(pictures)]
    own = [target.score([value], [truth]) for value, truth in zip(made, truths, strict=True)]
    assert found.scores["model"] == pytest.approx({name: np.mean([each[name] for each in own]) for name in own[0]})
    assert [score for _, score in found.each] == pytest.approx([-each["mae"] for each in own])  # more is better
    assert "score of waves" in found.markdown() and found.scores["bound"].keys() == own[0].keys()
    shares = am.evaluate({"name": "score", "target": "ground"}, tmp_path, model, batch=2)
    assert len(shares.each) == 3 and all(score >= 0 for _, score in shares.each)
    with pytest.raises(GenerationError, match="score needs 'wave', which the model does not make"):
        am.evaluate({"name": "score", "target": "wave"}, tmp_path, model)
    with pytest.raises(ConfigError, match="--option target=NAME"):
        am.evaluate("score", tmp_path, model)


def test_the_sheet_shows_maps_in_their_own_colors(small_model, tmp_path):
    """A photograph that shines through makes any map look as if it fitted."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for name, value in (("rgb", noise), ("semseg", np.full((32, 32), 3, np.uint8))):
        (tmp_path / name).mkdir()
        Image.fromarray(value).save(tmp_path / name / "0.png")
    am.evaluate("semseg", tmp_path, small_model, out=tmp_path / "out", **HOW)
    sheet = Image.open(tmp_path / "out/sheet.png").convert("RGB")
    truth = sheet.crop((sheet.width - GAP - TILE, GAP + TITLE, sheet.width - GAP, GAP + TITLE + TILE))
    most, _ = max(truth.getcolors(TILE**2))
    assert most > 0.8 * TILE**2


def test_nothing_of_another_evaluation_stays_beside_a_report(data, small_model, tmp_path):
    drawn = am.evaluate(
        "semseg", data, small_model, out=tmp_path, samples=3, scheme="roar", **HOW | {"temperature": 1.0}
    )
    assert drawn.reliability and (tmp_path / "calibration.png").is_file()
    (tmp_path / "notes.txt").touch()
    am.evaluate("semseg", data, small_model, out=tmp_path, **HOW)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "sheet.png", "notes.txt"}


def test_the_command_says_all_of_it(data, checkpoint, tmp_path, capsys):
    words = ["eval", "semseg", data, "--model", checkpoint, "--set", "steps=2", "--count", 4, "--batch", 2]
    assert command(*words, "--out", tmp_path / "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] == 4 and set(said["scores"]) == {"model", "bound", "constant", "shuffled"}
    assert json.loads((tmp_path / "out/report.json").read_text())["scores"] == said["scores"]
    assert Image.open(tmp_path / "out/sheet.png").load() is not None
    with shown("quiet"):
        assert command("eval", "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == list(TASKS)
    assert command("eval", "semseg") == 2
