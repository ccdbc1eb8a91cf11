"""Labeling: pictures become datasets that every reader understands, and labels are made from what was written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import webdataset
from datasets_made import contents, problems, write_pictures
from small_runs import command

import anymodal as am
from anymodal.data.files.values import open_values
from anymodal.data.jobs import label as labeling
from anymodal.data.jobs.label import label_dataset
from anymodal.data.jobs.labelers import Chosen, find_labeler, ordered
from anymodal.data.jobs.outputs import member_name, write_files
from anymodal.errors import ConfigError, DataError
from anymodal.plugins.registry import registry

EXACT = {"canny_edge": None, "color_palette": None, "metadata_image": None}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder of bare pictures, with something else in it."""
    folder = write_pictures(tmp_path_factory.mktemp("photos"), 7, modalities=("rgb",)) / "rgb"
    (folder / "notes.md").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def labeled(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("labeled") / "out"
    label_dataset(photos, EXACT, out, shard_size=3)
    return out


def modalities(*names: str) -> list[am.Modality]:
    return [registry().modality(name)() for name in names]


def test_labels_are_those_of_the_labelers(photos, labeled):
    made = open_values(labeled, modalities("rgb", *EXACT))
    assert list(made.names) == [f"{k:04d}" for k in range(7)]
    assert [shard.name for shard in made.shards] == ["shard-00000", "shard-00001", "shard-00002"]
    for index in (0, 6):
        picture = registry().modality("rgb")().read(photos / f"{index:04d}.png")
        assert np.array_equal(made.read_file("rgb", index), picture)
        assert made.files.read("rgb", index) == (photos / f"{index:04d}.png").read_bytes()
        for name in EXACT:
            (label,) = registry().labeler(name)().label([{"rgb": picture}])
            assert np.array_equal(made.read_file(name, index), label) or made.read_file(name, index) == label


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_tars(labeled):
    tars = [str(path) for path in sorted((labeled / "canny_edge").iterdir())]
    read = list(webdataset.WebDataset(tars, shardshuffle=False).decode("l"))
    assert [sample["__key__"] for sample in read] == [f"{k:04d}" for k in range(7)]
    assert read[0]["png"].shape == (40, 56)
    assert [member_name(name) for name in ("a", "a.b.c", "v1.0/a.b")] == ["a", "a-b-c", "v1.0/a-b"]


def test_the_manifest_names_labelers_versions_and_files(labeled):
    manifest = json.loads((labeled / "manifest.json").read_text())
    assert manifest["modalities"]["canny_edge"]["labeler"] == "canny_edge"
    assert manifest["modalities"]["rgb"]["labeler"] is None
    assert manifest["versions"].keys() == {
        "anymodal",
        "anymodal-canny-edge",
        "anymodal-color-palette",
        "anymodal-metadata-image",
    }
    hashes = {name: each["sha256"] for name, each in manifest["files"].items()}
    assert hashes == {name: each for name, each in contents(labeled).items() if name.endswith(".tar")}
    assert manifest["shards"] == [{"samples": 3}, {"samples": 3}, {"samples": 1}]


def test_the_command_adds_modalities_and_then_does_nothing(photos, labeled, tmp_path, capsys):
    out = tmp_path / "out"
    one = ["label", photos, "--with", "canny_edge", "--out", out, "--shard-size", 3, "--workers", 1]
    more = [*one, "--with", "metadata_image", "--with", "color_palette"]
    assert command(*one) == 0 and "made 3 of 3 shards" in capsys.readouterr().out
    assert command(*more) == 0 and "made 3 of 3 shards" in capsys.readouterr().out
    assert command(*more, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "samples": 7,
        "shards": 3,
        "made": 0,
        "problems": 0,
        "out": str(out),
    }
    assert contents(out) == contents(labeled)


@pytest.mark.parametrize("layout", ["tars", "folder"])
def test_what_was_labeled_can_be_checked(photos, tmp_path, capsys, layout):
    with_these = ["--with", "canny_edge", "--layout", layout]
    assert command("label", photos, *with_these, "--out", tmp_path / "out") == 0
    assert command("data", "check", tmp_path / "out") == 0
    assert "no problems" in capsys.readouterr().out


def test_plain_folders(photos, labeled, tmp_path):
    out = tmp_path / "out"
    label_dataset(photos, EXACT, out, layout="folder", shard_size=3)
    assert {path.name for path in (out / "canny_edge").iterdir()} == {f"{k:04d}.png" for k in range(7)}
    made, tars = (open_values(place, modalities("rgb", *EXACT)) for place in (out, labeled))
    for name in ("rgb", *EXACT):
        assert made.files.read(name, 5) == tars.files.read(name, 5)
    (out / "canny_edge/0004.png").write_bytes(b"")
    summary = label_dataset(photos, EXACT, out, layout="folder", shard_size=3)
    assert summary.jobs == 1 and made.files.read("canny_edge", 4) == tars.files.read("canny_edge", 4)


class Shout(am.Labeler):
    """Captions, louder."""

    modality, sources = "web_text", ("caption",)

    def label(self, samples):
        return [caption.upper() for caption in self.values(samples, "caption")]


def test_tars_keep_their_shards_and_what_labels_are_made_from_is_carried(monkeypatch, tmp_path):
    data, tars, out = write_pictures(tmp_path / "data", 5), tmp_path / "tars", tmp_path / "out"
    (data / "caption/0001.txt").unlink()
    for name in ("rgb", "caption", "depth"):
        files = [(path.stem, path.suffix, path.read_bytes()) for path in sorted((data / name).iterdir())]
        for shard, stems in enumerate((("0000", "0001", "0002"), ("0003", "0004"))):
            write_files(tars, "tars", name, shard, [file for file in files if file[0] in stems])
    monkeypatch.setattr(labeling, "find_labeler", lambda name, c=None: Chosen(name, c, "web_text", ("caption",)))
    monkeypatch.setattr(labeling, "load_labeler", lambda chosen, device: Shout())
    assert label_dataset(tars, {"shout": None}, out, shard_size=2).problems == 0
    assert json.loads((out / "manifest.json").read_text())["shards"] == [{"samples": 3}, {"samples": 2}]
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"rgb", "caption", "web_text"}
    made = open_values(out, modalities("rgb", "caption", "web_text"))
    assert made.read_file("web_text", 4) == made.read_file("caption", 4).upper() == "A BLUE CUP ON A TABLE"
    assert made.names[1] == "0001" and not made.files.holds("web_text", 1) and made.files.holds("rgb", 1)


def test_labelers_come_after_those_that_make_their_sources():
    def chosen(name: str, *sources: str) -> Chosen:
        return Chosen(name, None, name, sources)

    both = ordered([chosen("normal", "depth"), chosen("meta", "normal", "det"), chosen("depth", "rgb"), chosen("det")])
    assert [each.name for each in both] == ["depth", "normal", "det", "meta"]
    with pytest.raises(ConfigError, match="in a circle: a from b from a"):
        ordered([chosen("a", "b"), chosen("b", "a")])
    with pytest.raises(ConfigError, match="x and y both make 'depth'"):
        ordered([Chosen("x", None, "depth", ()), Chosen("y", None, "depth", ())])


def test_labelers_are_found_by_their_name_and_by_their_modality(photos, tmp_path):
    assert find_labeler("tiny_clip").modality == "clip"
    assert find_labeler("human_poses").name == "blazepose"
    with pytest.raises(ConfigError, match=r"nothing makes 'cany_edge'; did you mean 'canny_edge'.*there are: "):
        find_labeler("cany_edge")
    with pytest.raises(ConfigError, match=r"metadata_semantic needs 'caption', which .* does not have; add --with"):
        label_dataset(photos.parent, {"metadata_semantic": None}, tmp_path / "out")
    with pytest.raises(ConfigError, match="settings are given for 'depth', which is not made"):
        label_dataset(photos, {"canny_edge": None}, tmp_path / "out", settings={"depth": {"high": 2.0}})
    with pytest.raises(DataError, match="has no pictures"):
        label_dataset(tmp_path, {"canny_edge": None}, tmp_path / "other")


class Guess(am.Labeler):
    """Distances that follow the red channel; it fails for dark pictures and is not sure about bright ones."""

    modality = "depth"

    def label(self, samples):
        pictures = self.values(samples, "rgb")
        if any(picture.max() < 10 for picture in pictures):
            raise RuntimeError("too dark")
        return [np.where(p.min() > 250, np.nan, p[..., 0] * 0.02).astype(np.float32) for p in pictures]


class Slope(am.Labeler):
    """Edges of the distances that it is given."""

    modality, sources = "canny_edge", ("depth",)

    def label(self, samples):
        self.seen = self.values(samples, "depth")
        return [(d > d.mean()).astype(np.uint8) * 255 for d in self.seen]


@pytest.fixture
def guessing(monkeypatch) -> dict[str, am.Labeler]:
    """Labelers of depth, and of edges from depth."""
    labelers = {"depth": Guess(), "canny_edge": Slope()}
    monkeypatch.setattr(labeling, "load_labeler", lambda chosen, device: labelers[chosen.modality])
    monkeypatch.setattr(
        labeling, "find_labeler", lambda name, c=None: Chosen(name, c, name, tuple(labelers[name].sources))
    )
    return labelers


def test_bad_pictures_and_labels_are_left_out_alone(guessing, photos, tmp_path):
    data, out = shutil.copytree(photos, tmp_path / "data"), tmp_path / "out"
    rgb = registry().modality("rgb")()
    rgb.write(np.zeros((20, 20, 3), np.uint8), data / "0001.png")
    rgb.write(np.full((20, 20, 3), 255, np.uint8), data / "0002.png")
    (data / "0004.png").write_bytes((data / "0004.png").read_bytes()[:60])
    wanted, settings = {"canny_edge": None, "depth": None}, {"depth": {"high": 6.0}}
    with pytest.raises(DataError, match="3 of 7 samples have problems"):
        label_dataset(data, wanted, out, settings=settings, shard_size=4, batch=2)
    label_dataset(data, wanted, out, settings=settings, shard_size=4, batch=2, max_bad=0.5)
    assert {(p["sample"], p["modality"]) for p in problems(out)} == {
        ("0001", "depth"),
        ("0002", "depth"),
        ("0004", "rgb"),
    }
    said = {p["sample"]: p["problem"] for p in problems(out)}
    assert "RuntimeError: too dark" in said["0001"] and "NaN" in said["0002"] and "0004.png" in said["0004"]
    made = open_values(out, [registry().modality("depth")(high=6.0), *modalities("rgb", "canny_edge")])
    dark, fine = made.names.index("0001"), made.names.index("0006")
    assert len(made) == 6 and not made.files.holds("canny_edge", dark) and made.files.holds("rgb", dark)
    depth = made.read_file("depth", fine)
    assert np.array_equal(made.read_file("canny_edge", fine) > 0, depth > depth.mean())


def test_labels_are_made_from_files_also_when_they_come_later(guessing, photos, tmp_path):
    settings = {"depth": {"high": 6.0}}
    label_dataset(photos, {"depth": None, "canny_edge": None}, tmp_path / "once", settings=settings)
    label_dataset(photos, {"depth": None}, tmp_path / "twice", settings=settings)
    label_dataset(photos, {"canny_edge": None, "depth": None}, tmp_path / "twice", settings=settings)
    assert contents(tmp_path / "once") == contents(tmp_path / "twice")
    (tmp_path / "twice/canny_edge/shard-00000.tar").unlink()
    label_dataset(photos, {"canny_edge": None, "depth": None}, tmp_path / "twice", settings=settings)
    assert contents(tmp_path / "once") == contents(tmp_path / "twice")


def test_labels_that_files_would_cut_off_are_refused(guessing, photos, tmp_path):
    with pytest.raises(ConfigError, match=r"labels of 'depth' reach from .* files hold 0 to 1; .* --set depth.high="):
        label_dataset(photos, {"depth": None}, tmp_path / "out")
    assert not list((tmp_path / "out").glob("depth/*"))


def test_what_was_labeled_with_other_settings_is_refused(photos, labeled, tmp_path):
    with pytest.raises(DataError, match=r"settings.layout was .tars., is .folder."):
        label_dataset(photos, EXACT, labeled, layout="folder", shard_size=3)
    with pytest.raises(DataError, match=r"settings.samples was 7, is 2"):
        label_dataset(photos, EXACT, labeled, shard_size=3, count=2)
    with pytest.raises(DataError, match="would be one; rename one of them"):
        shutil.copytree(photos, tmp_path / "data")
        for name in ("a.b.png", "a-b.png"):
            shutil.copy(photos / "0000.png", tmp_path / "data" / name)
        label_dataset(tmp_path / "data", EXACT, tmp_path / "out")


@pytest.mark.parametrize(
    ("data", "words"), [("nowhere", "no such folder: .*nowhere"), ("empty", "empty has no pictures")]
)
def test_data_without_pictures_is_named_and_nothing_is_left_behind(data, words, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert command("label", tmp_path / data, "--with", "canny_edge", "--out", tmp_path / "out") == 2
    assert words.split(": ")[0] in capsys.readouterr().err
    with pytest.raises(DataError, match=words):
        label_dataset(tmp_path / data, EXACT, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_with_other_things_stays_as_it_is(photos):
    before = sorted(photos.iterdir())
    with pytest.raises(DataError, match="holds other things"):
        label_dataset(photos, EXACT, photos)
    assert sorted(photos.iterdir()) == before


def test_any_model_of_ours_labels_whole_pictures(photos, checkpoint, tmp_path, capsys):
    with_these = ["--with", f"{checkpoint}:depth", "--with", f"{checkpoint}:caption", "--max-bad", 0.2]
    words = ["label", photos, *with_these, "--set", "depth.low=-9", "--set", "depth.high=9", "--out", tmp_path / "out"]
    assert command(*words, "--count", 3, "--workers", 1) == 0
    high = registry().modality("depth")(low=-9.0, high=9.0)
    made = open_values(tmp_path / "out", [*modalities("rgb", "caption"), high])
    model = am.load(checkpoint)
    for index in range(3):
        values = made.read_files(index, {"rgb": "rgb", "depth": "depth", "caption": "caption"})
        height, width = values["rgb"].shape[:2]
        assert values["depth"].shape == (
            round(32 * height / max(height, width)),
            round(32 * width / max(height, width)),
        )
        made.cut(values)  # they show the same picture
    square = made.read_files(1, {"rgb": "rgb", "depth": "depth"})
    alone = model.generate({"rgb": square["rgb"]}, "depth")["depth"]
    assert np.allclose(square["depth"], alone, atol=1e-3)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["modalities"]["depth"]["labeler"] == f"{checkpoint}:depth"
    assert command("label", photos, "--with", f"{checkpoint}:dpeth", "--out", tmp_path / "no") == 2
    assert "did you mean 'depth'" in capsys.readouterr().err
    assert command("label", photos, "--with", f"{checkpoint}:clip", "--out", tmp_path / "no", "--workers", 1) == 2
    assert "does not make 'clip' from pictures; it makes: " in capsys.readouterr().err
