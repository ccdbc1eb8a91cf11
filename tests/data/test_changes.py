"""Inputs that change are noticed and redone; damage is found by content; damaged books are one sentence."""

from __future__ import annotations

import json
import os
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import anymodal as am
from anymodal.data.check import check_dataset
from anymodal.data.jobs import runner
from anymodal.data.jobs.inputs import address
from anymodal.data.jobs.label import label_dataset
from anymodal.data.jobs.manifest import Manifest, Plan
from anymodal.data.jobs.problems import Problem
from anymodal.data.jobs.receipts import write_record
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.schema import check_book
from anymodal.data.store.reader import TokenStore
from anymodal.files import read_json


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, gray in (("a", 10), ("b", 60), ("c", 90)):
        Image.new("RGB", (32, 32), (gray, gray, gray)).save(folder / f"{name}.png")
    return folder


def label(photos, out, *, with_=("metadata_image",), layout="folder", **options):
    return label_dataset(photos, dict.fromkeys(with_), out, layout=layout, max_bad=0.9, **options)


def brightness(out, name: str) -> float:
    return json.loads((out / f"metadata_image/{name}.json").read_text())["brightness"]


def test_a_changed_file_is_labeled_again_with_its_shard_alone(photos, tmp_path):
    out = tmp_path / "out"
    assert label(photos, out, shard_size=1).changed == 0
    Image.new("RGB", (32, 32), (250, 250, 250)).save(photos / "b.png")
    again = label(photos, out, shard_size=1)
    assert (again.jobs, again.changed) == (1, 1) and brightness(out, "b") == 250
    assert label(photos, out, shard_size=1).jobs == 0


def test_a_pipe_among_the_files_is_left_out_and_never_opened(photos, tmp_path):
    pipe = photos / "d.png"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.open("wb").close(), daemon=True)  # waits until somebody reads
    writer.start()
    assert label(photos, tmp_path / "out").problems == 1
    waits = writer.is_alive()
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    writer.join()
    assert waits and "d.png is a pipe or a device" in (tmp_path / "out/problems.jsonl").read_text()


def test_a_file_that_becomes_unreadable_leaves_nothing_behind_and_comes_back(photos, tmp_path):
    out, whole = tmp_path / "out", (photos / "b.png").read_bytes()
    label(photos, out)
    (photos / "b.png").write_bytes(whole[:40])
    assert label(photos, out).problems == 1
    assert not (out / "rgb/b.png").exists() and not (out / "metadata_image/b.json").exists()
    (photos / "b.png").write_bytes(whole)
    assert label(photos, out).problems == 0 and brightness(out, "b") == 60


def test_a_file_that_is_missing_for_a_while_is_read_again_when_it_is_back(photos, tmp_path, monkeypatch):
    """It comes back as it was, so that neither names nor contents tell that it was not read."""
    out, path, read = tmp_path / "out", photos / "b.png", am.ImageModality.read

    def vanishing(modality, place):
        if place.name == "b.png":
            path.rename(tmp_path / "aside")
        return read(modality, place)

    monkeypatch.setattr(am.ImageModality, "read", vanishing)
    assert label(photos, out).problems == 1
    monkeypatch.setattr(am.ImageModality, "read", read)
    (tmp_path / "aside").rename(path)
    again = label(photos, out)
    assert (again.problems, again.changed) == (0, 1) and brightness(out, "b") == 60
    assert label(photos, out).jobs == 0


def test_new_times_of_the_same_content_are_kept_and_nothing_is_redone(photos, tmp_path):
    out = tmp_path / "out"
    label(photos, out, layout="tars")
    before = (out / "manifest.json").read_text()
    for each in photos.iterdir():
        os.utime(each, (1, 1))
    assert label(photos, out, layout="tars").jobs == 0
    assert (out / "manifest.json").read_text() != before
    moved = photos.rename(tmp_path / "moved") / "."
    assert label(moved, out, layout="tars").jobs == 0


def test_what_else_was_made_of_changed_data_is_named(photos, tmp_path):
    out = tmp_path / "out"
    label(photos, out, with_=("metadata_image", "color_palette"))
    Image.new("RGB", (32, 32), (250, 250, 250)).save(photos / "b.png")
    with pytest.raises(am.DataError, match="also holds color_palette"):
        label(photos, out)
    assert label(photos, out, with_=("metadata_image", "color_palette")).changed == 1


def texts(folder, words: str):
    (folder / "caption").mkdir(parents=True)
    for k in range(3):
        (folder / f"caption/{k:08d}.txt").write_text(words)
    return folder


def test_another_dataset_with_the_same_names_is_refused(tmp_path, vocabulary):
    one, other = texts(tmp_path / "one", "a red cup"), texts(tmp_path / "other", "two blue cups")

    def make():
        return am.ModalitySet(["caption"], vocabulary)

    tokenize_dataset(one, make, tmp_path / "tokens", shard_size=2)
    with pytest.raises(am.DataError, match="was made from other data"):
        tokenize_dataset(other, make, tmp_path / "tokens", shard_size=2)
    (one / "caption/00000002.txt").write_text("two blue cups")
    again = tokenize_dataset(one, make, tmp_path / "tokens", shard_size=2)
    assert (again.jobs, again.changed) == (1, 1)
    store = TokenStore(tmp_path / "tokens")
    assert "blue" in vocabulary.decode(store.sample(2)["caption"])


def test_addresses_are_written_without_secrets(tmp_path):
    assert address("s3://key:secret@bucket/data?X-Signature=abc") == "s3://bucket/data"
    assert address(str(tmp_path / "a/..")) == str(tmp_path)


@pytest.mark.parametrize("kind", ["values", "tokens"])
def test_a_flipped_bit_is_found_by_its_hash(tmp_path, photos, vocabulary, kind):
    if kind == "values":
        label(photos, tmp_path / "out", layout="tars")
        path = tmp_path / "out/rgb/shard-00000.tar"
    else:
        make = lambda: am.ModalitySet(["caption"], vocabulary)  # noqa: E731
        tokenize_dataset(texts(tmp_path / "data", "a red cup"), make, tmp_path / "out")
        path = tmp_path / "out/sample-info/shard-00000.safetensors"
    assert not len(check_dataset(tmp_path / "out").problems)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (problem,) = check_dataset(tmp_path / "out").problems
    assert problem.kind == "damaged file" and str(path) in problem.examples[0]
    if kind == "tokens":
        path.unlink()
        assert "missing file" in {each.kind for each in check_dataset(tmp_path / "out").problems}


@pytest.mark.parametrize(
    "line", [b"\xff\n", b"{}\n", b"null\n", b'{"shard": 0, \n', b"[" * 100_000, b'{"shard": -1}\n']
)
def test_a_damaged_log_of_problems_is_no_reason_to_stop(photos, tmp_path, line):
    (photos / "bad.png").write_bytes(b"no")
    label(photos, tmp_path / "out", layout="tars")
    (tmp_path / "out/problems.jsonl").write_bytes(line)
    (tmp_path / "out/rgb/shard-00000.tar").unlink()
    assert label(photos, tmp_path / "out", layout="tars").problems == 1


BOOKS = {
    "modalities": [[], None, {"rgb": 5}, {"rgb": {"streams": 3}}, {"rgb": {"streams": [{"name": "../x"}]}}],
    "settings": [None, [], "x"],
    "files": [[], {"a": {"size": 1}}, {"a": {"size": -1, "sha256": "0" * 64}}, {"a": {"size": 1.5, "sha256": "x"}}],
    "problems": ["1", -1, 1e400],
    "versions": [[1], {"anymodal": 1}],
    "shards": [{}, [{"samples": 10**12}], [{"samples": 2, "empty": [2**70]}], [{"samples": True}]],
    "inputs": [[], {"data": 1}, {"data": "x", "shards": [1]}, {"data": "x", "shards": [{"rgb": 1}]}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BOOKS.items() for value in values])
def test_a_damaged_manifest_is_one_sentence_that_names_it(tmp_path, name, value):
    whole = {"settings": {}, "modalities": {}, "files": {}, "problems": 0, "versions": {}, "shards": [{"samples": 1}]}
    check_book(whole, tmp_path)
    with pytest.raises(am.DataError, match=r"manifest\.json is damaged") as error:
        check_book({**whole, name: value}, tmp_path / "manifest.json")
    assert repr(name) in str(error.value)


def test_what_killed_runs_left_goes(photos, tmp_path):
    out = tmp_path / "out"
    label(photos, out)
    left = [out / "rgb/.b-12345678.png", out / "metadata_image/.a-x.json"]
    for each in left:
        each.write_bytes(b"half")
    shutil.copy(photos / "a.png", photos / "b.png")
    label(photos, out)
    assert not any(each.exists() for each in left)


def test_settings_of_a_labeled_modality_are_what_the_manifest_says(photos, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)).save(photos / "a.png")
    options = {"settings": {"color_palette": {"colors": 7}}}
    label(photos, tmp_path / "out", with_=("color_palette",), **options)
    made = json.loads((tmp_path / "out/color_palette/a.json").read_text())
    said = json.loads((tmp_path / "out/manifest.json").read_text())["modalities"]["color_palette"]["settings"]
    assert len(made) == said["colors"] == 7


def test_folders_are_named_in_any_way(photos, tmp_path, monkeypatch):
    (photos / "sub").mkdir()
    for number, (name, at) in enumerate({".": photos, "../photos/.": photos, "..": photos / "sub"}.items()):
        monkeypatch.chdir(at)
        assert label(name, tmp_path / f"out{number}").samples == 3


def test_shards_that_other_processes_finished_are_counted(photos, tmp_path, monkeypatch):
    whole = runner.results
    monkeypatch.setattr(runner, "results", lambda *args: list(whole(*args))[:1])  # what the first process hears
    for name in "bc":
        (photos / f"{name}.png").write_bytes(b"nothing")
    with pytest.raises(am.DataError, match=r"2 of 3 samples have problems.* 3 of 3 shards are finished"):
        label_dataset(photos, {"metadata_image": None}, tmp_path / "out", shard_size=1, max_bad=0.5)


def test_what_is_passed_over_is_said(photos, tmp_path, caplog):
    Image.new("RGB", (8, 8)).save(photos / "d.gif")
    Image.new("RGB", (8, 8)).save(photos / "a.jpg")
    label(photos, tmp_path / "out")
    assert "not read: 1, such as" in caplog.text and "d.gif" in caplog.text and "name used twice" in caplog.text


def test_a_problem_is_counted_once_whatever_modality_it_is_of(tmp_path):
    problem = Problem("0001", "depth", "cut short")
    plan = Plan("tokens", 1, {}, {"rgb": {}}, [1], ["rgb"], {}, "data", lambda shard: {})
    for _ in range(3):  # as of a run that is killed and goes on
        manifest = Manifest(tmp_path, plan, lambda shard, part: {})
        manifest.begin()
        write_record(tmp_path, lambda shard, part: {}, 0, "rgb", [problem], {})
        assert manifest.write_problems() == {0: [problem]}
    manifest.finish(None)
    assert read_json(tmp_path / "manifest.json")["problems"] == 1
