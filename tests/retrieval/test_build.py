"""A dataset becomes an index: resumable, with what was left out named, and asked by the model that made it alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import fsspec
import numpy as np
import pytest
import torch
from aligned_layouts import as_tars, samples
from conftest import build_set
from PIL import Image
from small_runs import ALONE, command

import anymodal as am
from anymodal.data.files.values import open_values
from anymodal.data.jobs.model_source import ModelSource
from anymodal.errors import ConfigError, DataError, GenerationError
from anymodal.model import ModelConfig
from anymodal.plugins.registry import registry
from anymodal.retrieval import Hit, Request, build, hit_values, index_dataset, sheet, values
from anymodal.tokenizers.tokenizer import VQTokenizer

PICTURES, BY = 7, "dinov2_global"


def saved_model(vocabulary, folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    vector = registry().modality(BY)(channels=8, codebooks=2, codebook=16, latent=8)
    vector.tokenizer = VQTokenizer(vector.tokenizer_config({"width": 8, "blocks": 1}, {"width": 8, "blocks": 1})).eval()
    members = [*build_set(["rgb", "caption", "canny_edge"], vocabulary), vector]
    model = am.AnyModel(
        am.ModalitySet(members, vocabulary), ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)
    )
    with torch.no_grad():
        model.transformer.output_table.mul_(20)
    return model.save_pretrained(folder)


@pytest.fixture(scope="module")
def models(vocabulary, tmp_path_factory) -> list[Path]:
    return [saved_model(vocabulary, tmp_path_factory.mktemp("model"), seed) for seed in (3, 4)]


def made_data(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("rgb", "caption"):
        (root / "data" / folder).mkdir(parents=True)
    for k in range(PICTURES):
        picture = np.repeat(np.repeat(rng.integers(0, 256, (4, 4, 3), np.uint8), 8, 0), 8, 1)
        Image.fromarray(picture).save(root / f"data/rgb/{k}.png")
        (root / f"data/caption/{k}.txt").write_text(f"picture number {k}")
    return root / "data"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made_data(tmp_path)


@pytest.fixture(scope="module")
def asked(models, tmp_path_factory) -> tuple[am.Index, am.AnyModel, Path]:
    """An index, the model that it was made with, and its data."""
    work = tmp_path_factory.mktemp("asked")
    data = made_data(work)
    indexed(data, models[0], work / "index", keep=("caption",))
    return am.Index(work / "index"), am.load(models[0]), data


def indexed(data: Path, model: Path, out: Path, *, shard_size: int = 3, max_bad: float = 0, **request):
    return index_dataset(
        data, ModelSource(str(model)), Request(BY, **request), out, shard_size=shard_size, batch=2, max_bad=max_bad
    )


def test_pictures_find_themselves_and_carry_their_texts(asked, models):
    index, model, data = asked
    assert (len(index), index.by, index.channels, index.columns) == (PICTURES, BY, 8, {"caption": "text"})
    for k in range(PICTURES):
        mine = model.embed({"rgb": data / f"rgb/{k}.png"}, BY, normalize=True)
        assert np.allclose(index.vectors([k])[0], mine, atol=1e-3)  # however they were batched
        hit = index.query(model, {"rgb": data / f"rgb/{k}.png"}, 1, where={"name": str(k)})[0]
        assert (hit.values["caption"], hit.data) == (f"picture number {k}", str(data)) and hit.score > 0.999
    again = indexed(data, models[0], index.folder, keep=("caption",))
    assert (again.jobs, again.shards) == (0, 3)


def test_vectors_that_the_data_holds_are_taken_as_they_are(data, models, tmp_path):
    (data / BY).mkdir()
    vectors = np.random.default_rng(1).standard_normal((PICTURES, 8)).astype(np.float32)
    for k, vector in enumerate(vectors):
        np.save(data / BY / f"{k}.npy", vector)
    indexed(data, models[0], tmp_path / "index")
    index = am.Index(tmp_path / "index")
    assert np.allclose(index.vectors(range(7)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-3)
    assert index.query(am.load(models[0]), {BY: vectors[4]}, 1)[0].name == "4"


def test_bad_samples_are_counted_and_named_and_never_indexed(data, models, tmp_path):
    (data / "rgb/2.png").write_bytes(b"no picture")
    (data / "rgb/5.png").unlink()
    both = ("rgb", "caption")
    with pytest.raises(DataError, match="problems, more than --max-bad"):
        indexed(data, models[0], tmp_path / "index", inputs=both)
    with pytest.raises(DataError, match="no index yet"):
        am.Index(tmp_path / "index")
    assert indexed(data, models[0], tmp_path / "index", max_bad=0.5, inputs=both).problems == 2
    index = am.Index(tmp_path / "index")
    rows, _ = index.nearest(np.eye(8), PICTURES)
    assert {hit.name for hit in index.hits(rows[0], rows[0] * 0.0)} == {"0", "1", "3", "4", "6"}
    (problems,) = (tmp_path / "index").glob("*/problems.jsonl")
    told = [json.loads(line) for line in problems.read_text().splitlines()]
    assert {each["sample"] for each in told} == {"2", "5"}


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(data, models, tmp_path, monkeypatch):
    indexed(data, models[0], tmp_path / "whole")
    kept, calls = build.write_shard, []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        kept(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(build, "write_shard", dying)
        with pytest.raises(KeyboardInterrupt):
            indexed(data, models[0], tmp_path / "index")
    assert indexed(data, models[0], tmp_path / "index").jobs == 2
    mine, whole = (sorted((tmp_path / name).rglob("*.safetensors")) for name in ("index", "whole"))
    assert [path.read_bytes() for path in mine] == [path.read_bytes() for path in whole]
    assert (tmp_path / "index/index.json").read_text() == (tmp_path / "whole/index.json").read_text()


def test_another_dataset_is_added_and_what_was_removed_stays_so(data, models, tmp_path):
    indexed(data, models[0], tmp_path / "index")
    am.Index(tmp_path / "index").remove(["3"])
    more = Path(shutil.copytree(data, tmp_path / "more"))
    for name in ("rgb/0.png", "caption/0.txt"):
        (more / name).unlink()
    indexed(more, models[0], tmp_path / "index")
    index = am.Index(tmp_path / "index")
    assert (index.rows, len(index)) == (13, 12)
    assert {hit.data for hit in index.query(am.load(models[0]), {"caption": "x"}, 20)} == {str(data), str(more)}
    Image.new("RGB", (32, 32), (200, 30, 90)).save(data / "rgb/6.png")  # another picture of that name
    assert indexed(data, models[0], tmp_path / "index").jobs == 1
    again = am.Index(tmp_path / "index")
    assert (again.rows, len(again)) == (13, 12) and not np.array_equal(again.vectors([6]), index.vectors([6]))
    assert np.array_equal(again.vectors([0, 7]), index.vectors([0, 7]))


def test_another_model_is_refused_wherever_it_comes_from(asked, models, small_model):
    index, _, data = asked
    own = am.load(models[0])
    for other, said in ((am.load(models[1]), "another model"), (small_model, "does not make")):
        with pytest.raises(DataError, match=said):
            index.query(other, {"caption": "a car"})
    with torch.no_grad():
        own.transformer.output_table.add_(1)
    with pytest.raises(DataError, match="others are its weights of transformer"):
        index.query(own, {"caption": "a car"})
    with pytest.raises(DataError, match="another model"):
        indexed(data, models[1], index.folder)
    assert len(am.Index(index.folder)) == PICTURES


def test_weights_add_up_the_vectors_of_single_inputs(asked):
    index, model, data = asked
    inputs = {"rgb": data / "rgb/1.png", "caption": "a car"}
    single = {name: model.embed({name: value}, BY, normalize=True) for name, value in inputs.items()}
    for weights in ({"rgb": 1, "caption": 0.5}, {"rgb": 1.0, "caption": -2}):
        mixed = sum(weights[name] * single[name] for name in inputs)
        expected = [(hit.row, round(hit.score, 5)) for hit in index.search(mixed, 7)]
        assert [(hit.row, round(hit.score, 5)) for hit in index.query(model, inputs, 7, weights=weights)] == expected
    together = index.search(model.embed(inputs, BY), 7)
    assert [hit.row for hit in index.query(model, inputs, 7)] == [hit.row for hit in together]
    drawn = np.mean([model.embed(inputs, BY, seed=k, normalize=True, scheme="roar") for k in (5, 6, 7)], 0)
    mine, expected = index.query(model, inputs, 1, draws=3, seed=5)[0], index.search(drawn, 1)[0]
    assert mine.row == expected.row and mine.score == pytest.approx(expected.score, abs=1e-6)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "said"),
    [
        ({}, {}, GenerationError, "needs an input"),
        ({"caption": "a"}, {"weights": {"rgb": 1}}, ConfigError, "is no input"),
        ({"caption": "a"}, {"weights": {"caption": float("nan")}}, ConfigError, "must be a number from -1e"),
        ({"caption": "a"}, {"weights": {"caption": 1e308}}, ConfigError, r"to 1e\+15, got 1e\+308"),
        ({"caption": "a"}, {"weights": {"caption": 0}}, GenerationError, "cancel each other out"),
        ({"caption": "a", BY: np.ones(8)}, {}, ConfigError, "say how much each counts"),
        ({"caption": "a"}, {"draws": 0}, ConfigError, "draws"),
    ],
)
def test_queries_that_mean_nothing_are_told(asked, inputs, options, error, said):
    index, model, _ = asked
    with pytest.raises(error, match=said):
        index.query(model, inputs, **options)


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (Request("canny_edge"), GenerationError, "not a vector"),
        (Request("dinov2_golbal"), GenerationError, "did you mean 'dinov2_global'"),
        (Request(BY, inputs=(BY,)), DataError, f"has no files for {BY}"),
        (Request(BY, keep=("rgb",)), ConfigError, "is not text"),
    ],
)
def test_requests_that_cannot_be_met_leave_nothing(data, models, tmp_path, request_, error, said):
    with pytest.raises(error, match=said):
        index_dataset(data, ModelSource(str(models[0])), request_, tmp_path / "index")
    assert not (tmp_path / "index").exists()
    with pytest.raises(ConfigError, match="draws"):
        attrs.evolve(request_, draws=0)


def test_the_commands_index_and_ask(data, models, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    model = ["--model", models[0]]
    begin = ["retrieve", "index", data, *model, "--by", BY, "--keep", "caption", "--workers", 1]
    assert command(*begin, "--out", tmp_path / "full") == 2 and "other things" in capsys.readouterr().err
    assert command(*begin, "--out", tmp_path / "index", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == PICTURES
    ask = ["retrieve", "query", tmp_path / "index", *model]
    rgb, sheet = f"rgb={data / 'rgb/5.png'}", tmp_path / "hits.png"
    assert command(*ask, rgb, "--where", "name=5", "--sheet", sheet, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [hit["caption"] for hit in said["hits"]] == ["picture number 5"] and sheet.exists()
    assert command(*ask, rgb, "caption=a car", "--weights", "rgb=1,caption=-0.5", "--top", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert command(*ask, "caption=x", "--sheet-data", data) == 2 and "give that, too" in capsys.readouterr().err
    assert len(lines) == 4 and lines[0].split("\t") == ["score", "name", "caption"]
    assert command("retrieve", "query", tmp_path / "index", "caption=x", "--model", models[1]) == 2
    assert "another model" in capsys.readouterr().err
    assert command(*ask, "caption=x", "--where", "yaer=3") == 2 and "no column" in capsys.readouterr().err
    shutil.rmtree(data)
    assert command(*ask, "caption=x", "--sheet", sheet) == 2 and "not where it was" in capsys.readouterr().err


def test_what_an_index_says_opens_no_address(data, tmp_path, monkeypatch):
    photographs = [registry().modality("rgb")(size=32)]
    fsspec.filesystem("memory").pipe("/photos/rgb/5.png", (data / "rgb/5.png").read_bytes())
    here, there = (Hit("5", 1.0, 0, place) for place in (str(data), "memory://photos"))
    opened = []
    monkeypatch.setattr(values, "open_values", lambda place, *rest: opened.append(place) or open_values(place, *rest))
    with pytest.raises(DataError, match=r"memory://photos.*--sheet-data"):
        sheet.write_hits([there], photographs, tmp_path / "hits.png")
    assert sheet.write_hits([there, here], photographs, tmp_path / "hits.png") == 1 and opened == [str(data)]
    assert sheet.write_hits([there], photographs, tmp_path / "hits.png", data="memory://photos") == 1
    assert sheet.write_hits([there], photographs, tmp_path / "hits.png", data=data) == 1
    lost, gone = Hit("no such name", 1.0, 0, str(data)), Hit("5", 1.0, 0, "")
    assert [list(each) for each in hit_values([there, lost, here, gone], photographs)] == [[], [], ["rgb"], []]
    assert list(hit_values([there], photographs, remote=True)[0]) == ["rgb"]


@pytest.mark.slow
def test_who_works_makes_no_difference(data, models, tmp_path):
    for name, options in (("one", ["--workers", 1]), ("two", ["--workers", 2]), ("ray", ["--executor", "ray"])):
        words = ["retrieve", "index", data, "--by", BY, "--model", models[0], "--shard-size", 2, "--workers", 2]
        line = [sys.executable, "-m", "anymodal", *map(str, [*words, "--out", tmp_path / name, *options])]
        subprocess.run(line, env=ALONE, check=True, capture_output=True)
    one, *others = (am.Index(tmp_path / name) for name in ("one", "two", "ray"))
    for other in others:
        assert np.allclose(one.vectors(range(7)), other.vectors(range(7)), atol=1e-3)
        assert [hit.name for hit in one.hits(range(7), [0] * 7)] == [hit.name for hit in other.hits(range(7), [0] * 7)]


def test_names_of_files_need_not_be_utf8(data, models, tmp_path):
    (data / "rgb/0.png").rename(data / "rgb/\udcff.png")
    indexed(data, models[0], tmp_path / "index")
    assert "%FF" in {am.Index(tmp_path / "index").hits([row], [1.0])[0].name for row in range(PICTURES)}


@pytest.mark.parametrize(
    "how", [{"batch": 0}, {"batch": "x"}, {"shard_size": 0}, {"shard_size": 1.5}, {"count": -1}, {"workers": -1}]
)
def test_numbers_of_an_index_that_cannot_be_are_refused(data, models, tmp_path, how):
    with pytest.raises(ConfigError):
        index_dataset(data, ModelSource(str(models[0])), Request(BY), tmp_path / "index", **how)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    "asked_for", [{"by": 5}, {"inputs": "rgb"}, {"inputs": [5]}, {"keep": 5}, {"seed": -1}, {"seed": "x"}, {"draws": 0}]
)
def test_a_request_says_names_and_numbers(asked_for):
    with pytest.raises(ConfigError):
        Request(**{"by": BY, **asked_for})


def test_a_hit_whose_name_several_samples_have_is_not_shown_as_another(tmp_path):
    root = as_tars(tmp_path, {"rgb": samples(2)["rgb"]}, shard=1)
    (root / "rgb/shard-00002.tar").write_bytes((root / "rgb/shard-00001.tar").read_bytes())
    alone, twice = hit_values(
        [Hit(name, 1.0, 0, str(root)) for name in ("0000", "0001")], [registry().modality("rgb")()]
    )
    assert list(alone) == ["rgb"] and twice == {}
