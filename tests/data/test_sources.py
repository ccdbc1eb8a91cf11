"""Every kind of dataset gives the same samples, a function of index and generator; what is damaged is named."""

from __future__ import annotations

import tarfile

import datasets
import fsspec
import numpy as np
import pytest
from aligned_layouts import as_folder, as_tars, grids, npy, picture, samples, served
from small_runs import GRID, STEPS, command, model_config

from anymodal.data.config import CropConfig, DataConfig
from anymodal.data.crops import random_crop, stored_crop
from anymodal.data.files import storage
from anymodal.data.files import tar_index as tars
from anymodal.data.files.tar_index import table
from anymodal.data.files.values import open_values
from anymodal.data.order import ShuffledRuns, step_batches
from anymodal.data.sources.open import open_source
from anymodal.errors import AnymodalError, ConfigError, DataError, ValueProblem

COUNT = 12
NAMES = {"rgb": "rgb@224", "depth": "tok_depth@224"}


def source(path, members, **options):
    return open_source(DataConfig(path=str(path), **options), members)


def tokens(source, index, seed=0):
    return source.sample(index, np.random.default_rng(seed))


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert np.array_equal(left[name], right[name]), name


# Layouts.


def test_folders_and_tars_here_and_behind_addresses_give_the_same(tmp_path, small):
    folder, shards = as_folder(tmp_path / "folder", samples(COUNT)), as_tars(tmp_path / "tars", samples(COUNT))
    system = fsspec.filesystem("memory")
    system.put(str(shards), "/sources-tars", recursive=True)
    system.put(str(folder), "/sources-folder", recursive=True)
    first = source(folder, small)
    with served(tmp_path) as address:
        places = [
            shards,
            "memory://sources-tars",
            "memory://sources-folder",
            "simplecache::memory://sources-tars",
            f"{address}/tars",
        ]
        for other in (source(place, small) for place in places):
            assert len(other) == len(first) == COUNT and other.streams == first.streams
            for index in (0, 6, 11):
                assert_same(tokens(first, index), tokens(other, index))
    assert first.streams == {"rgb", "rgb.pixels", "depth", "caption"}
    assert set(tokens(first, 3)) == first.streams


def test_tables_of_tars_are_read_once_and_again_when_the_tar_changes(tmp_path, monkeypatch):
    shard = as_tars(tmp_path, samples(5)) / "rgb" / "shard-00000.tar"
    first = table(str(shard))
    monkeypatch.setattr(tars, "_scan", lambda *_: pytest.fail("it is in the cache"))
    again = table(str(shard))
    assert again.names.tolist() == first.names.tolist() and again.offsets.tolist() == first.offsets.tolist()
    monkeypatch.undo()
    as_tars(tmp_path, samples(3))
    assert len(table(str(shard)).names) == 3


def test_names_lie_in_classes_and_a_sample_may_lack_modalities(tmp_path, small):
    files = {
        "rgb": {"cats/a.png": picture(1), "dogs/a.png": picture(2)},
        "caption": {"dogs/a.txt": b"a dog", "birds/b.txt": b"a bird"},
    }
    for root in (as_folder(tmp_path / "folder", files), as_tars(tmp_path / "tars", files)):
        found = open_values(root, small)
        assert sorted(found.names) == ["birds/b", "cats/a", "dogs/a"]
        dogs = list(found.names).index("dogs/a")
        assert found.read(dogs)["caption"] == "a dog" and "depth" not in found.read(dogs)
        assert set(found.read(list(found.names).index("cats/a"))) == {"rgb"}


def test_other_names_and_fewer_modalities(tmp_path, small):
    whole = samples(3)
    as_folder(tmp_path, {"photos": whole["rgb"], "caption": whole["caption"]})
    with pytest.raises(DataError, match="no folder 'pics', which is to hold 'rgb'"):
        source(tmp_path, small, names={"rgb": "pics"})
    with pytest.raises(ConfigError, match="did you mean 'rgb'"):
        source(tmp_path, small, names={"rgbb": "photos"})
    with pytest.raises(ConfigError, match="'dept', which is not in the set; did you mean 'depth'"):
        source(tmp_path, small, modalities=["dept"])
    assert set(tokens(source(tmp_path, small, names={"rgb": "photos"}), 0)) == {"rgb", "rgb.pixels", "caption"}
    only = source(tmp_path, small, names={"rgb.pixels": "photos"}, modalities=["rgb"])
    assert set(tokens(only, 0)) == {"rgb.pixels"}
    assert len(source(tmp_path, small, count=2)) == 2


@pytest.mark.parametrize("layout", [as_folder, as_tars])
def test_stored_grids_and_pictures_share_the_crop(tmp_path, small, layout):
    found = source(layout(tmp_path, grids(COUNT)), small, names=NAMES)
    seen = set()
    for seed in range(12):
        sample = tokens(found, 4, seed)
        row = int(sample["depth"][0]) - 4
        seen.add(row)
        assert (sample["depth"] == 4 + row).all() and sample["depth"].dtype == np.int64
        columns = sample["rgb.pixels"].reshape(4, 4, -1).mean((0, 2))
        if row == 1:  # the left half of the picture: all of it is bright
            assert columns.min() > -0.7
        if row == 0:
            assert columns[0] > -0.7 and columns[3] < -0.9
        assert_same(sample, tokens(found, 4, seed))
    assert seen == {0, 1, 2}


def test_random_crops_cover_their_share_and_fit_the_picture():
    config = CropConfig(scale=(0.3, 0.6), ratio=(0.5, 2.0), flip=0.3)
    drawn = [random_crop(config, 80, 50, np.random.default_rng(k)) for k in range(400)]
    for crop in drawn:
        assert 0 <= crop.left <= crop.left + crop.width <= 1 + 1e-9
        assert 0 <= crop.top <= crop.top + crop.height <= 1 + 1e-9
        assert 0.3 - 1e-6 <= crop.width * crop.height <= 0.6 + 1e-6
        assert 0.5 - 1e-6 <= crop.width * 80 / (crop.height * 50) <= 2 + 1e-6
    assert np.mean([crop.flip for crop in drawn]) == pytest.approx(0.3, abs=0.08)
    narrow = random_crop(CropConfig(scale=(1, 1), ratio=(1, 1)), 100, 10, np.random.default_rng(0))
    assert (narrow.width * 100, narrow.height * 10) == (10, 10)  # nothing fits: the centered square


def test_stored_crops_follow_from_the_center_where_no_picture_is_known():
    settings = np.array([[0, 4, 32, 32, 0], [0, 0, 16, 20, 1]])
    assert stored_crop(settings, 1, None) == stored_crop(settings, 1, (40.0, 32.0))
    assert stored_crop(settings, 1, None).width == 0.5 and stored_crop(settings, 1, None).flip
    with pytest.raises(ValueProblem, match="outside the picture of 30 x 32"):
        stored_crop(settings, 0, (30.0, 32.0))


def test_rows_of_datasets_give_their_columns(tmp_path, small):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["a red car", None, "a blue cup"], "url": ["x", "y", "z"]})
    rows.save_to_disk(tmp_path / "saved")
    rows.to_parquet(tmp_path / "rows.parquet")
    for path in (tmp_path / "saved", tmp_path / "rows.parquet"):
        with pytest.raises(DataError, match="has the columns text, url; say which is which"):
            source(path, small)
        found = source(path, small, names={"caption": "text"})
        assert len(found) == 3 and found.streams == {"caption"}
        assert small["caption"].detokenize([tokens(found, 0)["caption"]]) == ["a red car"]
        assert tokens(found, 1) == {}
        assert found.describe(2) == f"row 2 of {path}"
    with pytest.raises(ValueProblem, match="a row never names a file"):
        tokens(source(tmp_path / "saved", small, names={"depth": "url"}), 0)
    with pytest.raises(DataError, match="no column 'txt'; did you mean 'text'"):
        source(tmp_path / "saved", small, names={"caption": "txt"})


# Orders.


def test_runs_of_neighbors_stay_together_and_every_sample_comes_once_an_epoch():
    order = ShuffledRuns([40, 7, 100], 16, seed=3)
    epochs = [[order(e * 147 + k) for k in range(147)] for e in range(3)]
    assert all(sorted(epoch) == list(range(147)) for epoch in epochs) and epochs[0] != epochs[1]
    together = np.mean(np.diff(epochs[1]) == 1)
    assert 0.85 < together < 0.95
    assert ShuffledRuns([40, 7, 100], 16, seed=3)(200) == epochs[1][53]


def test_neighbors_in_a_remote_tar_are_read_at_once(tmp_path, small, monkeypatch):
    fsspec.filesystem("memory").put(str(as_tars(tmp_path, samples(10))), "/sources-ahead", recursive=True)
    found = open_values("memory://sources-ahead", [small["rgb"]])
    reads, read = [], storage.read
    monkeypatch.setattr(storage, "read", lambda *what: reads.append(what) or read(*what))
    for index in range(10):
        found.read(index)
    assert len(reads) == 2  # one for each of the two shards


def test_a_remote_member_longer_than_what_is_read_ahead_is_read_from_its_start(tmp_path, small, monkeypatch):
    monkeypatch.setattr("anymodal.data.files.tars.AHEAD", 2048)  # of 5 kB and more
    fsspec.filesystem("memory").put(str(as_tars(tmp_path, samples(6))), "/sources-long", recursive=True)
    here, found = (open_values(place, [small["depth"]]).files for place in (tmp_path, "memory://sources-long"))
    assert [found.read("depth", k) for k in range(6)] == [here.read("depth", k) for k in range(6)]


def test_workers_read_from_a_server(tmp_path, small):
    """Connections that were opened before processes fork do not survive it."""
    as_tars(tmp_path, {"caption": samples(10)["caption"]})
    with served(tmp_path) as address:
        found = open_values(address, [small["caption"]])
        expected = [found.read(index)["caption"] for index in range(10)]
        assert list(step_batches(lambda step: found.read(step)["caption"], 10, workers=1)(0)) == expected


# Damage.


def test_a_truncated_shard_is_noticed_and_its_rest_is_bad(tmp_path, small):
    shards = as_tars(tmp_path, samples(10))
    shard = shards / "depth" / "shard-00001.tar"
    with tarfile.open(shard) as tar:
        cut = tar.getmembers()[2].offset_data + 100
    shard.write_bytes(shard.read_bytes()[:cut])
    found = source(shards, small)
    assert len(found) == 10 and set(tokens(found, 6)) == found.streams
    for index in (7, 8, 9):
        with pytest.raises(AnymodalError, match=r"depth/shard-00001.tar.* cut short"):
            tokens(found, index)
    (finding,) = found.dataset.files.problems
    assert finding.kind == "damaged shard" and "after 3 members" in finding.examples[0]


def test_garbage_within_a_tar_hides_nothing(tmp_path, small):
    shards = as_tars(tmp_path, samples(5))
    shard = shards / "rgb" / "shard-00000.tar"
    content = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        second, third = tar.getmembers()[1:3]
    content[second.offset_data : second.offset_data + 60] = b"?" * 60  # a member
    content[third.offset : third.offset + 512] = b"?" * 512  # a header
    shard.write_bytes(content)
    found = source(shards, small)
    assert "rgb" in tokens(found, 0)
    with pytest.raises(ValueProblem, match=r"rgb/shard-00000.tar: 0001.png"):
        tokens(found, 1)
    with pytest.raises(DataError, match="damaged or cut short after 2 members"):
        tokens(found, 3)


@pytest.mark.parametrize("kind", ["empty", "noise", "no end"])
def test_what_is_no_tar_is_named(tmp_path, kind):
    path = tmp_path / "shard-00000.tar"
    whole = as_tars(tmp_path / "whole", samples(1)) / "rgb" / path.name
    with tarfile.open(whole) as tar:
        (member,) = tar.getmembers()
    end = member.offset_data + 512 * -(-member.size // 512)
    path.write_bytes({"empty": b"", "noise": bytes(range(256)) * 8, "no end": whole.read_bytes()[:end]}[kind])
    assert "is damaged or cut short" in table(str(path)).damage


def test_links_folders_and_hostile_headers_are_no_members(tmp_path):
    path = tmp_path / "shard-00000.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo("../../etc/passwd")
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
    assert not len(table(str(path)).names) and not table(str(path)).damage
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for size in ("-2048", "99999999999999"):
            entry = tarfile.TarInfo("a.png")
            entry.pax_headers = {"size": size}
            tar.addfile(entry)
    assert "damaged" in table(str(path)).damage
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("a" * 2_000_000)
        tar.addfile(entry)
    assert "a header of" in table(str(path)).damage


@pytest.mark.parametrize(
    ("folder", "name", "data", "words"),
    [
        ("rgb", "0001.png", b"no picture", "not a picture"),
        ("rgb", "0001.png", picture(1)[:80], "cannot be decoded"),
        ("depth", "0001.npy", npy(np.full((8, 8), np.nan, np.float32)), "64 of 64 numbers that are NaN or infinite"),
        ("depth", "0001.npy", npy(np.zeros((8, 8, 3))), "0001.npy: depth takes"),
        ("depth", "0001.npy", npy(np.array([None])), "not a numeric .npy array"),
        ("caption", "0001.txt", b"\xff\xfe\xff", "not UTF-8"),
    ],
    ids=["no picture", "cut", "NaN", "shape", "pickle", "bytes"],
)
def test_damaged_values_are_named_in_folders_and_tars(tmp_path, small, folder, name, data, words):
    files = samples(3)
    files[folder][name] = data
    for root in (as_folder(tmp_path / "folder", files), as_tars(tmp_path / "tars", files)):
        found = source(root, small)
        with pytest.raises(ValueProblem, match=words) as error:
            tokens(found, 1)
        assert name in str(error.value) and "/dev/shm" not in str(error.value)
        assert set(tokens(found, 2)) == found.streams


@pytest.mark.parametrize(
    ("folder", "array", "words"),
    [
        ("tok_depth@224", np.zeros((2, 16), np.int16), "not whole numbers for 3 crops"),
        ("tok_depth@224", np.zeros((3, 15), np.int16), "16 whole numbers"),
        ("tok_depth@224", np.full((3, 16), 32), "ids from 0 to 31"),
        ("tok_depth@224", np.zeros((3, 16)), "not whole numbers"),
        ("crop_settings", np.zeros((3, 4)), "rows of 5 finite numbers"),
        ("crop_settings", np.full((3, 5), 1000), "outside the picture"),
        ("crop_settings", None, "has no crop_settings"),
    ],
)
def test_damaged_grids_are_named(tmp_path, small, folder, array, words):
    files = grids(2)
    if array is None:
        del files[folder]["0001.npy"]
    else:
        files[folder]["0001.npy"] = npy(array)
    found = source(as_folder(tmp_path, files), small, names=NAMES)
    with pytest.raises(ValueProblem, match=words):
        for seed in range(8):
            tokens(found, 1, seed)
    assert set(tokens(found, 0)) == {"depth", "rgb.pixels", "rgb", "caption"} & found.streams


def test_what_cannot_be_opened_is_one_clear_error(tmp_path, small):
    with pytest.raises(DataError, match="no such folder"):
        source(tmp_path / "none", small)
    with pytest.raises(DataError, match="Protocol not known"):
        source("nonsense://a/b", small)
    with pytest.raises(DataError, match="no such file or folder"):
        source("memory://nowhere", small)
    as_tars(tmp_path, {"rgb": samples(2)["rgb"]})
    as_folder(tmp_path, {"caption": samples(2)["caption"]})
    with pytest.raises(DataError, match=r"mixes tars \(rgb\) with plain files \(caption\)"):
        source(tmp_path, small)
    with pytest.raises(ConfigError, match="leave out crop"):
        source(as_folder(tmp_path / "grids", grids(2)), small, names=NAMES, crop=CropConfig())


# Training.


@pytest.fixture(scope="module")
def places(tmp_path_factory, vocabulary):
    """A dataset of each kind, and what they need in a configuration."""
    datasets = pytest.importorskip("datasets")
    root = tmp_path_factory.mktemp("places")
    vocabulary.save(root / "tokenizers" / "vocabulary.json")
    datasets.Dataset.from_dict({"text": ["a red car", "a blue cup"]}).save_to_disk(root / "rows")
    return {
        "root": root,
        "folder": {"path": str(as_folder(root / "folder", samples(6))), "modalities": ["rgb", "caption"], "crop": {}},
        "tars": {"path": str(as_tars(root / "tars", samples(6))), "modalities": ["rgb", "caption"]},
        "grids": {"path": str(as_tars(root / "grids", grids(6))), "names": {**NAMES, "rgb.pixels": "rgb@224"}},
        "rows": {"path": str(root / "rows"), "names": {"caption": "text"}},
    }


@pytest.mark.parametrize("kinds", [["folder"], ["tars"], ["grids"], ["folder", "grids", "rows"]], ids="+".join)
def test_a_model_trains_on_every_kind_by_the_command(places, tmp_path, kinds):
    modalities = {"rgb": GRID, "depth": GRID, "caption": {"length": 24}}
    targets = {"depth": 1, "caption": 1}
    if "grids" not in kinds:
        del modalities["depth"], targets["depth"]
    model_config(
        tmp_path / "model.yaml",
        modalities,
        [{"inputs": {"rgb.pixels": 1}, "targets": targets}, {"inputs": {"caption": 1}, "targets": {"caption": 1}}],
        tokenizers=str(places["root"] / "tokenizers"),
        data=[{**places[kind], "weight": 1 + k} for k, kind in enumerate(kinds)],
        training={**STEPS, "batch_size": 6},
        workers=1,
    )
    assert command("train", tmp_path / "model.yaml", "--out", tmp_path / "run") == 0
    assert (tmp_path / "run" / "model" / "config.json").exists()
    assert not (tmp_path / "run" / "problems.jsonl").exists()


def test_an_arrow_file_with_an_offset_outside_of_it_is_one_clean_error(tmp_path, small):
    """The library would read past the end of the map, which ends the process."""
    rows = datasets.Dataset.from_dict({"caption": ["a red car", "a dog"]})
    rows.save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    offsets = np.array([0, 9, 14], np.int32).tobytes()
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, np.array([0, 9, 2**30], np.int32).tobytes()))
    rows = source(tmp_path / "saved", small)
    assert rows.values(0)["caption"] == "a red car"
    with pytest.raises(DataError, match=r"row 1 of .*saved cannot be read: ArrowInvalid"):
        rows.values(1)
