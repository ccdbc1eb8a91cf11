"""Layouts of datasets: tars as webdataset writes them."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import fsspec
import numpy as np
import pytest
import webdataset
from aligned_layouts import as_folder, as_tars, grids, npy, picture, samples, served
from datasets_made import made_of
from small_runs import command

from anymodal.data.config import DataConfig
from anymodal.data.files import storage
from anymodal.data.files.open import layout_of_files
from anymodal.data.files.values import open_values
from anymodal.data.files.webdataset import split_member
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.sources.base import Source
from anymodal.data.sources.open import open_source
from anymodal.errors import AnymodalError, DataError

NAMES = {"rgb": "rgb@224", "depth": "tok_depth@224"}


def as_webdataset(root: Path, files: Mapping[str, Mapping[str, bytes]], shard: int = 5) -> Path:
    """Shards of so many samples, written by the package webdataset."""
    by_key: dict[str, dict[str, object]] = {}
    for folder, inside in files.items():
        for name, data in inside.items():
            key, _, ending = name.rpartition(".")
            by_key.setdefault(key, {"__key__": key})[f"{folder}.{ending}"] = data
    root.mkdir(parents=True)
    with webdataset.ShardWriter(str(root / "shard-%05d.tar"), maxcount=shard, verbose=0) as sink:
        for key in sorted(by_key):
            sink.write(by_key[key])
    return root


def source(path, members, **options) -> Source:
    return open_source(DataConfig(path=str(path), **options), members)


def tokens(found: Source, index: int, seed: int = 0) -> dict[str, np.ndarray]:
    return found.sample(index, np.random.default_rng(seed))


def assert_same(left, right) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert np.array_equal(left[name], right[name]), name


# Tars of whole samples.


def test_tars_of_webdataset_here_and_behind_addresses_give_what_folders_give(tmp_path, small):
    folder, shards = as_folder(tmp_path / "folder", samples(12)), as_webdataset(tmp_path / "shards", samples(12))
    one = as_webdataset(tmp_path / "one", samples(12), shard=100) / "shard-00000.tar"
    fsspec.filesystem("memory").put(str(shards), "/layouts-shards", recursive=True)
    first = source(folder, small)
    with served(tmp_path) as address:
        places = [shards, one, "memory://layouts-shards", "memory://layouts-shards/shard-00000.tar", f"{address}/one"]
        for place in places:
            other = source(place, small)
            assert len(other) == (5 if str(place).endswith("shards/shard-00000.tar") else 12)
            assert other.streams == first.streams == {"rgb", "rgb.pixels", "depth", "caption"}
            for index in range(0, len(other), 4):
                assert_same(tokens(first, index), tokens(other, index))
    assert layout_of_files(str(shards)).name == "webdataset"
    assert open_values(shards, small).describe(6) == f"0006 in shard-00001 of {shards}"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_same_samples(tmp_path, small):
    shards = as_webdataset(tmp_path / "shards", samples(7))
    values = open_values(shards, small)
    theirs = list(webdataset.WebDataset([str(p) for p in sorted(shards.iterdir())], shardshuffle=False))
    assert list(values.names) == [sample["__key__"] for sample in theirs]
    for index, sample in enumerate(theirs):
        for name, ending in (("rgb", "png"), ("depth", "npy"), ("caption", "txt")):
            assert values.files.read(name, index) == sample[f"{name}.{ending}"]


def test_names_are_split_as_webdataset_splits_them():
    for member in ("a.rgb.png", "./b/c.d/0001.Caption.JSON", "x.jpg", "v1.0/a.seg.mask.png", "README"):
        key, extension = webdataset.tariterators.base_plus_ext(member.removeprefix("./"))
        part, name, suffix = split_member(member)
        assert name == (key or "")
        if key:
            assert extension.lower() in (f"{part}{suffix}", part)
    assert split_member("0001.jpg") == ("jpg", "0001", ".jpg")
    assert split_member("dogs/0001.rgb.png") == ("rgb", "dogs/0001", ".png")


def test_plain_extensions_are_named_in_the_configuration(tmp_path, small, capsys):
    files = samples(4)
    shards = as_webdataset(tmp_path / "shards", {"photo": files["rgb"], "words": files["caption"]})
    with tarfile.open(shards / "shard-00001.tar", "w") as tar:
        for k in (4, 5):
            for name, data in ((f"{k:04d}.png", picture(k)), (f"{k:04d}.txt", b"a red car"), (f"{k:04d}.json", b"{}")):
                path = tmp_path / name
                path.write_bytes(data)
                tar.add(path, name)
    with pytest.raises(DataError, match="has no files for rgb, depth, caption; its extensions: json, photo, png, txt"):
        source(shards, small)
    found = source(shards, small, names={"rgb": "png", "caption": "txt"})
    assert len(found) == 2 and set(tokens(found, 1)) == {"rgb", "rgb.pixels", "caption"}
    assert command("data", "check", shards, "--name", "rgb=png", "--name", "caption=txt", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "webdataset" and report["counts"] == {"rgb": 2, "caption": 2}
    assert command("data", "check", shards) == 2
    assert "has no extension of an installed modality; its extensions: json" in capsys.readouterr().err


def test_names_of_samples_with_a_dot_are_told(tmp_path, small, capsys):
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as tar:
        for number in range(3):
            tar.write({"__key__": f"frame.{number:03d}", "caption.txt": "a red car"})
    told = "the name of a sample ends at its first dot, so that its extensions are such as '000.caption'; name samples"
    with pytest.raises(DataError, match=f"has no files for rgb, depth, caption; {told} frame_000, not frame.000"):
        source(tmp_path / "a.tar", small)
    assert command("data", "check", tmp_path / "a.tar") == 2
    assert told in capsys.readouterr().err


def test_stored_grids_in_tars_of_webdataset_share_the_crop(tmp_path, small):
    folder, shards = as_folder(tmp_path / "folder", grids(6)), as_webdataset(tmp_path / "shards", grids(6))
    left, right = source(folder, small, names=NAMES), source(shards, small, names=NAMES)
    for seed in range(6):
        assert_same(tokens(left, 4, seed), tokens(right, 4, seed))


def test_what_is_wrong_with_a_tar_of_webdataset_is_reported(tmp_path, capsys, small):
    files = samples(10)
    files["depth"]["0002.npy"] = npy(np.full((4, 4), np.inf, np.float32))
    files["caption"]["0001.json"] = b'"twice"'
    files["rgb"]["0003.pdf"] = files["rgb"].pop("0003.png")
    shards = as_webdataset(tmp_path / "shards", files)
    shard = shards / "shard-00001.tar"
    with tarfile.open(shard) as tar:
        cut = next(m for m in tar.getmembers() if m.name.startswith("0008.rgb")).offset_data + 20
    shard.write_bytes(shard.read_bytes()[:cut])
    assert command("data", "check", shards, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    found = {(p["part"], p["kind"]): p["count"] for p in report["problems"]}
    damaged = {(name, "damaged shard"): 1 for name in ("rgb", "depth", "caption")}
    assert found == {
        **damaged,
        ("depth", "not finite"): 1,
        ("caption", "name used twice"): 1,
        ("rgb", "not read"): 1,
        ("rgb", "not readable"): 1,
    }
    assert report["samples"] == 9
    values = open_values(shards, small)
    assert "rgb" not in values.held(3) and values.held(6) == ["rgb", "depth", "caption"]
    with pytest.raises(AnymodalError, match=r"shard-00001.tar.* cut short"):
        values.read(8)


def test_neighbors_in_a_remote_tar_of_webdataset_are_read_together(tmp_path, small, monkeypatch):
    system = fsspec.filesystem("memory")
    system.put(str(as_webdataset(tmp_path / "ahead", samples(10))), "/layouts-ahead", recursive=True)
    found = open_values("memory://layouts-ahead", small)
    reads, read = [], storage.read
    monkeypatch.setattr(storage, "read", lambda *what: reads.append(what) or read(*what))
    for index in range(10):
        assert len(found.read(index)) == 3
    assert len(reads) == 2  # of 30 members in two shards


def test_tars_beside_folders_are_not_tars_of_webdataset(tmp_path, small):
    root = as_folder(tmp_path / "data", samples(3))
    (root / "backup.tar").write_bytes(b"")
    assert layout_of_files(str(root)).name == "folders" and len(source(root, small)) == 3
    shards = as_tars(tmp_path / "tars", samples(3))
    assert command("label", shards / "rgb", "--with", "canny_edge", "--out", tmp_path / "labeled") == 0


def test_tars_of_webdataset_are_labeled_and_tokenized(tmp_path, small):
    shards = as_webdataset(tmp_path / "shards", samples(7))
    assert command("label", shards, "--with", "canny_edge", "--out", tmp_path / "labeled") == 0
    assert sorted(p.name for p in (tmp_path / "labeled/canny_edge").iterdir()) == ["shard-00000.tar", "shard-00001.tar"]
    tokenize_dataset(shards, lambda: small, tmp_path / "tokens")
    tokenize_dataset(as_folder(tmp_path / "folder", samples(7)), lambda: small, tmp_path / "same")
    assert made_of(tmp_path / "tokens") == made_of(tmp_path / "same")


def test_the_public_face_is_cheap_and_whole():
    code = (
        "import sys, anymodal.data as data; assert not {'numpy', 'torch', 'attrs'} & set(sys.modules);"
        "assert all(getattr(data, name) is not None for name in data.__all__) and 'check_dataset' in data.__all__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
