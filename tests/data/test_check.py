"""`anymodal data check` finds what is wrong, in every layout, and says it briefly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from aligned_layouts import as_folder, as_tars, grids, npy, picture, samples
from conftest import build_set
from PIL import Image
from small_runs import command, model_config

from anymodal.crops import Crop
from anymodal.data.check import check_dataset
from anymodal.data.config import DataConfig
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.report import TokenStatistics
from anymodal.data.sources.open import open_source
from anymodal.errors import ValueProblem


def check(capsys, *arguments: object) -> tuple[int, str]:
    """The exit code and what is printed."""
    code = command("data", "check", *arguments)
    captured = capsys.readouterr()
    return code, captured.out or captured.err


@pytest.mark.parametrize("layout", [as_folder, as_tars])
def test_a_sound_dataset_has_no_problems(tmp_path, capsys, layout):
    root = layout(tmp_path / "data", samples(7))
    code, out = check(capsys, root)
    assert code == 0 and "7 samples" in out and "no problems" in out
    code, out = check(capsys, root, "--json", "--count", 4)
    report = json.loads(out)
    assert code == 0 and report["samples"] == 4 and report["problems"] == []
    assert report["counts"] == {"rgb": 4, "depth": 4, "caption": 4}


@pytest.mark.parametrize("layout", [as_folder, as_tars])
def test_every_kind_of_damage_is_counted_with_examples(tmp_path, capsys, layout):
    files = samples(30)
    files["depth"]["0002.npy"] = npy(np.full((4, 4), np.inf, np.float32))
    for k in range(10, 20):
        files["rgb"][f"{k:04d}.png"] = picture(k)[:70]
    files["caption"]["0030.txt"] = b"nowhere else"
    files["caption"]["0001.json"] = b'"twice"'
    files["rgb"]["notes.pdf"] = b"?"
    del files["depth"]["0005.npy"]
    code, out = check(capsys, layout(tmp_path / "data", files), "--json")
    report = json.loads(out)
    assert code == 1
    found = {(p["part"], p["kind"]): p["count"] for p in report["problems"]}
    assert found == {
        ("depth", "not finite"): 1,
        ("rgb", "not readable"): 10,
        ("caption", "name found nowhere else"): 1,
        ("caption", "name used twice"): 1,
        ("rgb", "not read"): 1,
    }
    assert max(len(p["examples"]) for p in report["problems"]) == 5
    assert "2 samples without depth, which is no problem" in report["notes"]
    code, out = check(capsys, tmp_path / "data")
    assert code == 1 and "rgb: not readable: 10" in out and len(out.splitlines()) < 40


def test_a_truncated_shard_is_found(tmp_path, capsys):
    root = as_tars(tmp_path / "data", samples(10))
    shard = root / "depth" / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    code, out = check(capsys, root)
    assert code == 1 and "depth: damaged shard: 1" in out and "depth: not readable: 4" in out


def test_stored_grids_are_checked_with_their_sizes(tmp_path, capsys):
    files = grids(6)
    files["tok_depth@224"]["0003.npy"] = npy(np.full((3, 16), 99))
    files["crop_settings"]["0004.npy"] = npy(np.zeros((3, 2)))
    files["crop_settings"]["0005.npy"] = npy(np.array([[0, 0, 20, 20, 0], [0, 0, 900, 20, 0], [0, 0, 20, 20, 1]]))
    root = as_tars(tmp_path / "data", files)
    settings = {"size": 32, "patch": 8, "codebook": 32, "latent": 8}
    config = {
        "modalities": {"rgb": settings, "depth": settings, "caption": {"length": 24}},
        "tokenizers": "none",
        "data": "none",
        "model": {"dim": 32, "heads": 2},
        "masking": {"components": []},
        "training": {"steps": 1, "batch_size": 1, "lr": 1},
    }
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(config))
    named = ["--name", "rgb=rgb@224", "--name", "depth=tok_depth@224"]
    code, out = check(capsys, root, *named)
    assert code == 2 and "--config MODEL.yaml" in out
    code, out = check(capsys, root, *named, "--config", tmp_path / "model.yaml", "--json")
    report = json.loads(out)
    assert code == 1
    assert {(p["part"], p["kind"]): p["count"] for p in report["problems"]} == {
        ("depth", "wrong tokens"): 1,
        ("crop_settings", "not usable"): 1,
        ("crop_settings", "not within the picture"): 1,
    }
    depth = report["tokens"]["depth"]
    assert depth["usage"] == 8 / 32 and (depth["shortest"], depth["longest"]) == (16, 16)


def test_tokens_have_statistics_and_damaged_ones_are_named(tmp_path, capsys, vocabulary):
    root = as_folder(tmp_path / "data", samples(6))
    modalities = build_set(["rgb", "depth", "caption"], vocabulary)
    tokenize_dataset(root, lambda: modalities, tmp_path / "tokens", shard_size=3)
    code, out = check(capsys, tmp_path / "tokens", "--json")
    report = json.loads(out)
    assert code == 0 and report["samples"] == 6
    assert report["counts"] == dict.fromkeys(["rgb", "rgb.pixels", "depth", "caption"], 6)
    assert 0 < report["tokens"]["depth"]["usage"] <= 1 <= report["tokens"]["depth"]["perplexity"] <= 32
    assert 3 < report["tokens"]["caption"]["mean_length"] < 12
    shard = next((tmp_path / "tokens" / "depth").glob("shard-00001*"))
    shard.write_bytes(shard.read_bytes()[:-10])
    code, out = check(capsys, tmp_path / "tokens")
    assert code == 1 and "tokens: not readable: 3" in out and "depth/shard-00001" in out


def test_perplexity_is_that_of_the_frequencies():
    statistics = TokenStatistics(8)
    statistics.add(np.array([0, 1, 2, 3]))
    statistics.add(np.array([0, 1]))
    statistics.add(np.array([2, 3]))
    summary = statistics.summary()
    assert summary["perplexity"] == pytest.approx(4) and summary["usage"] == 0.5
    assert (summary["shortest"], summary["mean_length"], summary["longest"]) == (2, pytest.approx(8 / 3), 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "no such folder"),
        (["{empty}"], "no folder of an installed modality"),
        (["{empty}", "--name", "depth"], "MODALITY=FOLDER"),
        (["{empty}", "--count", "0"], "Invalid value"),
    ],
)
def test_a_wrong_command_has_exit_code_2(tmp_path, capsys, arguments, words):
    code, out = check(capsys, *(a.replace("{empty}", str(tmp_path)) for a in arguments))
    assert code == 2 and words in out


def test_rows_are_checked_too(tmp_path, capsys, vocabulary):
    datasets = pytest.importorskip("datasets")
    texts = ["a red cup on a table", "a cup", None, "a table"]
    path, config = tmp_path / "rows.parquet", tmp_path / "model.yaml"
    datasets.Dataset.from_dict({"text": texts, "url": list("wxyz")}).to_parquet(path)
    code, out = check(capsys, path)
    assert code == 2 and "has the columns text, url; say which is which, for example names: {caption: text}" in out
    code, out = check(capsys, path, "--name", "caption=text", "--json")
    report = json.loads(out)
    assert code == 1 and report["kind"] == "rows" and report["counts"] == {"caption": 3} and not report["tokens"]
    assert [p["kind"] for p in report["problems"]] == ["nothing in it"]
    assert report["problems"][0]["examples"] == [f"row 2 of {path}"]
    vocabulary.save(tmp_path / "tokenizers/vocabulary.json")
    model_config(config, {"caption": {"length": 24}}, [{"inputs": {"caption": 1}, "targets": {"caption": 1}}])
    code, out = check(capsys, path, "--name", "caption=text", "--config", config, "--count", 2, "--json")
    report = json.loads(out)
    assert code == 0 and report["problems"] == [] and report["notes"] == ["read as caption from text"]
    assert report["tokens"]["caption"]["shortest"] == 3 and report["tokens"]["caption"]["longest"] == 7
    code, out = check(capsys, path, "--name", "depth=url")
    assert code == 1 and "depth is text in row 0 of" in out


def test_rows_whose_values_show_another_picture_are_not_learned(tmp_path, vocabulary):
    """As files are: `data check` names them."""
    datasets = pytest.importorskip("datasets")
    picture, turned = np.full((40, 60, 3), 9, np.uint8), np.ones((60, 40), np.uint8)
    columns = {"rgb": [Image.fromarray(picture)] * 2, "semseg": [Image.fromarray(each) for each in (turned.T, turned)]}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "saved")
    source = open_source(DataConfig(path=str(tmp_path / "saved")), build_set(["rgb", "semseg"], vocabulary))
    assert "semseg" in source.sample(0, np.random.default_rng(0))
    with pytest.raises(ValueProblem, match="'semseg' is 40 x 60 beside 60 x 40 of 'rgb', which fits if it is turned"):
        source.sample(1, np.random.default_rng(0))
    (problem,) = check_dataset(str(tmp_path / "saved")).problems
    assert (problem.part, problem.kind, problem.count) == ("semseg", "turned", 1)


def test_pictures_in_rows_are_cut_to_the_square(tmp_path, vocabulary):
    datasets = pytest.importorskip("datasets")
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    rows = datasets.Dataset.from_dict({"rgb": [Image.fromarray(picture)]})
    rows.save_to_disk(tmp_path / "saved")
    few = build_set(["rgb"], vocabulary)
    source = open_source(DataConfig(path=str(tmp_path / "saved")), few)
    expected = few["rgb"].patches(few["rgb"].crop(picture, Crop.center(60, 40)))
    assert np.array_equal(source.sample(0, np.random.default_rng(0))["rgb.pixels"], expected)
    report = check_dataset(str(tmp_path / "saved"))
    assert report.counts == {"rgb": 1} and not len(report.problems)
