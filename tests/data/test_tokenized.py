"""Tokenized datasets: what is written is what the modalities say, and what is damaged is named."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pytest
from datasets_made import FEW, contents, problems, write_config, write_pictures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

import anymodal as am
from anymodal.config import load_config
from anymodal.crops import Crop
from anymodal.data.config import DataConfig
from anymodal.data.crops import Crops
from anymodal.data.files.values import open_values
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.sources.open import open_source
from anymodal.data.store.arrays import Spec, map_arrays, write_arrays
from anymodal.data.store.reader import TokenStore
from anymodal.errors import AnymodalError, CheckpointError, ConfigError, DataError
from anymodal.plugins.registry import registry
from anymodal.text import Vocabulary
from anymodal.training.multimodal.config import TrainConfig, build_set

CROPS = Crops(3, scale=(0.3, 0.9), flip=True, seed=5)


@pytest.fixture(scope="module")
def made(seven, tmp_path_factory) -> Path:
    """Pictures in `data`, and the tokens of three crops of each, in shards of four."""
    work = tmp_path_factory.mktemp("tokens")
    write_pictures(work / "data", 10)
    config = load_config(write_config(work, seven), TrainConfig)
    make = partial(build_set, config.modalities, config.tokenizers)
    tokenize_dataset(work / "data", make, work / "out", crops=CROPS, shard_size=4, batch=6)
    return work


def some(made: Path, *names: str):
    config = load_config(made / f"{'-'.join(FEW)}.yaml", TrainConfig)
    return partial(build_set, {n: c for n, c in config.modalities.items() if n in (names or FEW)}, config.tokenizers)


def test_samples_are_what_the_modalities_make_of_the_crops(made):
    modalities, store = some(made)(), TokenStore(made / "out")
    source = open_values(made / "data", modalities)
    assert (len(store), store.crops, store.names) == (10, 3, list(source.names))
    for index in (0, 5, 9):
        name = store.names[index]
        extent = modalities["rgb"].extent(source.read_file("rgb", index))
        for number, crop in enumerate(CROPS.draw(name, extent)):
            values, sample = source.read(index, crop if number else None), store.sample(index, number)
            assert set(sample) == {"rgb.pixels", "rgb", "depth", "caption", "color_palette", "metadata_image"}
            for modality in modalities:
                if modality.name == "metadata_image" and number:
                    continue  # in an order of its own
                for stream, (tokens,) in modality.tokenize([values[modality.name]]).items():
                    assert np.allclose(sample[stream], tokens, atol=2e-3), stream
                    assert sample[stream].dtype == (np.float32 if stream == "rgb.pixels" else np.int64)


def test_every_crop_has_an_order_of_its_own(made):
    modality, store = some(made)()["metadata_image"], TokenStore(made / "out")
    orders = [store.sample(3, k)["metadata_image"].tolist() for k in range(3)]
    texts = [modality.vocabulary.decode(np.array(order)).split() for order in orders]
    first, second = (text[0::2] for text in texts[1:])
    assert first != second and set(first) == set(second)


def test_files_are_safetensors_of_the_documented_arrays(made):
    grid = load_file(made / "out/rgb/shard-00001.safetensors")
    assert {n: (a.dtype.name, a.shape) for n, a in grid.items()} == {
        "ids": ("uint16", (4, 3, 16)),
        "present": ("bool", (4,)),
    }
    dense = load_file(made / "out/rgb.pixels/shard-00002.safetensors")
    assert (dense["values"].dtype.name, dense["values"].shape) == ("float16", (2, 3, 16, 192))
    words = load_file(made / "out/caption/shard-00000.safetensors")
    assert words["ends"].shape == (12,) and words["ids"].shape == (words["ends"][-1],) and words["present"].all()
    info = load_file(made / "out/sample-info/shard-00000.safetensors")
    assert info["crops"].shape == (4, 3, 5) and bytes(info["names"]) == b"0000000100020003"
    assert np.array_equal(info["crops"][0, 0], [1 / 7, 0, 5 / 7, 1, 0])
    manifest = json.loads((made / "out/manifest.json").read_text())
    assert manifest["format"] == 3 and manifest["versions"]["anymodal"] == am.__version__
    listed = {name: each["sha256"] for name, each in manifest["files"].items()}
    assert listed == {n: h for n, h in contents(made / "out").items() if n.endswith(".safetensors")}
    assert {"tokenizer", "settings", "vocabulary", "streams"} == set(manifest["modalities"]["rgb"])


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**32), st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)))
def test_crops_depend_on_seed_name_and_shape_alone(name, seed, extent):
    crops = Crops(4, scale=(0.3, 0.9), flip=True, seed=seed)
    drawn = crops.draw(name, extent)
    assert drawn == crops.draw(name, extent) and drawn[0] == Crop.center(*extent)
    assert attrs.evolve(crops, count=2).draw(name, extent) == drawn[:2]
    for crop in drawn:
        assert 0 <= crop.left <= crop.left + crop.width <= 1 + 1e-9
        assert 0 <= crop.top <= crop.top + crop.height <= 1 + 1e-9
    for crop in drawn[1:]:
        assert crop.width * crop.height < 0.9 + 1e-9


def test_half_of_the_crops_are_mirrored_only_if_asked():
    flips = [crop.flip for k in range(100) for crop in Crops(5, flip=True).draw(str(k), (4, 3))[1:]]
    assert 140 < sum(flips) < 260
    assert not any(crop.flip for k in range(50) for crop in Crops(5).draw(str(k), (4, 3)))
    with pytest.raises(ConfigError, match="scale 0 < a <= b <= 1"):
        Crops(2, scale=(0.5, 0.1))


ARRAYS = st.sampled_from(["?", "u1", "<u2", "<u4", "<i8", "<f2", "<f8"]).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), ARRAYS, min_size=1, max_size=4))
def test_arrays_come_back_and_other_readers_agree(tmp_path, arrays):
    path = tmp_path / "arrays.safetensors"
    write_arrays(arrays, path)
    expected = {name: Spec(array.dtype, array.shape) for name, array in arrays.items()}
    read, theirs = map_arrays(path, path.stat().st_size, expected), load_file(path)
    for name, array in arrays.items():
        assert read[name].tobytes() == array.tobytes() == theirs[name].tobytes()
        assert read[name].shape == array.shape == theirs[name].shape and read[name].flags.aligned


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_an_error_that_names_the_file(made, tmp_path, data):
    name = data.draw(st.sampled_from(["rgb", "rgb.pixels", "caption", "sample-info"]))
    folder, path = tmp_path / "out", tmp_path / "out" / name / "shard-00001.safetensors"
    if not folder.exists():
        shutil.copytree(made / "out", folder)
    whole = (made / "out" / name / "shard-00001.safetensors").read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(whole), len(whole), len(whole) // 2, 7, 0]))])
    store = TokenStore(folder)
    try:
        names = store.names
        for index in range(4, 8):
            sample = store.sample(index, 1)  # a changed byte may also say that it lacks a modality
            assert "rgb" not in sample or sample["rgb"].max() < 32
            assert "rgb.pixels" not in sample or np.isfinite(sample["rgb.pixels"]).all()
        assert len(names) == 10
    except DataError as error:
        assert str(path) in str(error)
    path.write_bytes(whole)


def test_missing_files_and_manifests_that_lie_are_named(made, tmp_path):
    shutil.copytree(made / "out", tmp_path / "out")
    manifest = tmp_path / "out/manifest.json"
    whole = json.loads(manifest.read_text())
    (tmp_path / "out/rgb/shard-00000.safetensors").unlink()
    with pytest.raises(DataError, match=r"rgb/shard-00000.safetensors is missing"):
        TokenStore(tmp_path / "out").sample(0)
    for key, value in {
        "files": {},
        "modalities": {"rgb": {"streams": [{"name": "rgb"}]}},
        "settings": {"crops": {"count": "many"}},
        "shards": [{"samples": 4}],
    }.items():
        manifest.write_text(json.dumps({**whole, key: value}))
        with pytest.raises(DataError, match=r"manifest.json is damaged"):
            TokenStore(tmp_path / "out")
    for text, words in {"{": "not JSON", "[]": "format 3", '{"format": 1, "samples": 3}': "but of 1"}.items():
        manifest.write_text(text)
        with pytest.raises(DataError, match=words):
            TokenStore(tmp_path / "out")
    manifest.unlink()
    (tmp_path / "out/.jobs").mkdir()
    with pytest.raises(DataError, match="is not finished"):
        TokenStore(tmp_path / "out")
    with pytest.raises(DataError, match="there is no crop 3 of sample 0"):
        TokenStore(made / "out").sample(0, 3)
    with pytest.raises(DataError, match="no crop 0 of sample 10"):
        TokenStore(made / "out").sample(10)


def test_few_files_are_open_and_a_store_travels_to_other_processes(made):
    def mapped() -> int:
        return sum("shard-0000" in os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir())

    store, before = TokenStore(made / "out", open_files=7), mapped()
    samples = [store.sample(index) for index in (0, 9, 4, 1, 8, 5)]
    assert mapped() - before == 6
    other = pickle.loads(pickle.dumps(store))
    for sample, index in zip(samples, (0, 9, 4, 1, 8, 5), strict=True):
        for name, tokens in other.sample(index).items():
            assert np.array_equal(sample[name], tokens)


def test_streams_that_are_not_wanted_are_not_opened(made):
    whole, part = TokenStore(made / "out"), TokenStore(made / "out", wanted={"caption"})
    assert list(part.sample(3)) == ["caption"] and set(part.streams) == set(whole.streams)
    assert np.array_equal(part.sample(3)["caption"], whole.sample(3)["caption"])
    assert list(pickle.loads(pickle.dumps(part)).sample(3)) == ["caption"]


def test_bad_samples_are_named_and_left_out(seven, tmp_path):
    data = write_pictures(tmp_path / "data", 8)
    (data / "rgb/0001.png").write_bytes(b"no picture")
    np.save(data / "depth/0003.npy", np.full((8, 8), np.nan))
    (data / "depth/0003.png").unlink()
    for name in ("rgb", "depth", "caption"):
        for path in data.glob(f"{name}/0006.*"):
            path.write_bytes(b"\xff\xfe")
    (data / "caption/0002.txt").unlink()
    write_config(tmp_path, seven)
    make = some(tmp_path)
    with pytest.raises(
        DataError, match=r"3 of 8 samples have problems, more than --max-bad 0.01.*0001: .*not a picture"
    ):
        tokenize_dataset(data, make, tmp_path / "out", shard_size=4)
    assert len(problems(tmp_path / "out")) == 5
    summary = tokenize_dataset(data, make, tmp_path / "out", shard_size=4, max_bad=0.5)
    assert (summary.jobs, summary.problems) == (0, 5)
    found = {(p["shard"], p["sample"], p["modality"]) for p in problems(tmp_path / "out")}
    assert found == {
        (0, "0001", "rgb"),
        (0, "0003", "depth"),
        (1, "0006", "rgb"),
        (1, "0006", "depth"),
        (1, "0006", "caption"),
    }
    assert all(name in p["problem"] for p in problems(tmp_path / "out") for name in [p["sample"]])
    store = TokenStore(tmp_path / "out")
    assert store.names == ["0000", "0001", "0002", "0003", "0004", "0005", "0007"]
    assert set(store.sample(1)) == {"depth", "caption"} and "depth" not in store.sample(3)
    assert "caption" not in store.sample(2) and set(store.sample(6)) == set(store.sample(0))


def test_a_modality_that_is_added_later_is_as_if_it_had_been_there(made, tmp_path):
    out = tmp_path / "out"
    tokenize_dataset(made / "data", some(made, "rgb", "caption"), out, crops=CROPS, shard_size=4, batch=6)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert set(TokenStore(out).streams) == {"rgb.pixels", "rgb", "caption"}
    summary = tokenize_dataset(made / "data", some(made), out, crops=CROPS, shard_size=4, batch=6)
    assert summary.jobs == 3 and all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert {n: h for n, h in contents(out).items() if n != "manifest.json"} == {
        n: h for n, h in contents(made / "out").items() if n != "manifest.json"
    }
    kept = tokenize_dataset(made / "data", some(made, "caption"), out, crops=CROPS, shard_size=4, batch=6)
    assert kept.jobs == 0 and len(TokenStore(out).streams) == 6


def test_what_was_made_with_other_settings_is_refused_and_says_how(made, tmp_path):
    def refused(words: str, **options) -> None:
        defaults = {"crops": CROPS, "shard_size": 4}
        with pytest.raises(DataError, match=words):
            tokenize_dataset(made / "data", options.pop("make", some(made)), made / "out", **{**defaults, **options})

    refused(r"crops.count was 3, is 2", crops=Crops(2, scale=(0.3, 0.9), flip=True, seed=5))
    refused(r"shard_size was 4, is 5", shard_size=5)
    refused(r"settings.samples was 10, is 9", count=9)

    def another() -> am.ModalitySet:
        modalities = some(made)()
        modalities["depth"].tokenizer.requires_grad_(False)
        next(iter(modalities["depth"].tokenizer.parameters())).add_(1)
        return modalities

    refused(r"depth.tokenizer was .* Choose another folder for --out, or remove", make=another)

    def longer() -> am.ModalitySet:
        modalities = some(made)()
        modalities["caption"].length = 30
        return modalities

    refused(r"caption.settings.length was 24, is 30", make=longer)
    with pytest.raises(DataError, match=r"holds other things \(caption, depth, rgb\)"):
        tokenize_dataset(made / "data", some(made), made / "data")
    assert len(TokenStore(made / "out")) == 10


def test_tokens_that_mean_something_else_are_not_trained_on(made, vocabulary):
    source = partial(open_source, DataConfig(path=str(made / "out"), modalities=("depth", "caption")))
    right = some(made, "depth", "caption")()
    assert len(source(right)) == 10
    depth = registry().modality("depth")(**{**right["depth"].config(), "high": 5.0})
    with pytest.raises(DataError, match=r"tokenized with high 1.0 of 'depth', not 5.0: train with the settings"):
        source(am.ModalitySet([depth, right["caption"]], vocabulary))
    other = Vocabulary.train(["other words, as many as there were"] * 3, len(vocabulary), bins=256, sentinels=16)
    with pytest.raises(DataError, match="another vocabulary, in which the ids of 'caption' are other words"):
        source(am.ModalitySet([right["depth"], right["caption"]], other))


def test_tokens_of_another_codebook_are_not_trained_on_and_those_of_another_decoder_are(made):
    modalities = some(made, "depth", "caption")()
    source, tokenizer = partial(open_source, DataConfig(path=str(made / "out"))), modalities["depth"].tokenizer
    tokenizer.post_quant_proj.weight.add_(1)
    next(tokenizer.decoder.parameters()).add_(1)
    assert len(source(modalities)) == 10
    tokenizer.quantize.codes.mul_(-1)
    with pytest.raises(DataError, match=r"tokenized with another tokenizer of 'depth' .*or tokenize it with this one"):
        source(modalities)


def test_rows_of_any_number_come_back(tmp_path, vocabulary):
    cls = registry().modality("t5_caption")
    modality, rng = cls(width=6, length=5), np.random.default_rng(0)
    rows = [rng.standard_normal((count, 6)).astype(np.float32) for count in (1, 5, 9)]
    for number, value in enumerate(rows):
        modality.write(value, tmp_path / "data/t5_caption" / f"{number}.npy")
    tokenize_dataset(tmp_path / "data", lambda: am.ModalitySet([modality]), tmp_path / "out")
    store = TokenStore(tmp_path / "out")
    for index, value in enumerate(rows):
        assert np.allclose(store.sample(index)["t5_caption"], value[:5], atol=2e-3)


def test_tokens_that_do_not_fit_are_problems(tmp_path, monkeypatch):
    cls = registry().modality("t5_caption")
    modality = cls(width=2, length=5)
    for number, value in enumerate([1.0, 1e6, 2.0]):
        modality.write(np.full((3, 2), value, np.float32), tmp_path / "data/t5_caption" / f"{number}.npy")
    summary = tokenize_dataset(tmp_path / "data", lambda: am.ModalitySet([modality]), tmp_path / "out", max_bad=0.5)
    assert summary.problems == 1 and TokenStore(tmp_path / "out").names == ["0", "2"]
    monkeypatch.setattr(cls, "tokenize", lambda self, values: 1 / 0)
    with pytest.raises(AnymodalError, match=r"3 of 3 samples .*failed in tokenize.*ZeroDivisionError"):
        tokenize_dataset(tmp_path / "data", lambda: am.ModalitySet([modality]), tmp_path / "other")


@pytest.mark.parametrize(
    ("lacking", "words"), [("caption", "caption has no vocabulary"), ("depth", "depth has no tokenizer")]
)
def test_what_tokens_are_made_with_is_missed_before_a_folder_is_begun(made, tmp_path, lacking, words):
    """The command goes on with a folder only with the same tokenizers: one begun without would have to be removed."""
    data, out, config = made / "data", tmp_path / "out", load_config(made / f"{'-'.join(FEW)}.yaml", TrainConfig)
    chosen = {name: config.modalities[name] for name in ("rgb", lacking)}
    with pytest.raises(CheckpointError, match=words) as told:
        tokenize_dataset(data, partial(build_set, chosen, tmp_path), out)
    assert not out.exists()
    alone = registry().modality(lacking)()
    with pytest.raises(CheckpointError) as same:
        alone.tokenize(["a cup"] if alone.is_text else [np.ones((alone.size, alone.size), np.float32)])
    assert str(same.value) == str(told.value)
    tokenize_dataset(data, partial(build_set, chosen, config.tokenizers), out, count=2)
    pixels = {"rgb": config.modalities["rgb"]}
    tokenize_dataset(data, partial(build_set, pixels, tmp_path), tmp_path / "pixels", count=2)
    assert set(TokenStore(tmp_path / "pixels").sample(0, 0)) == {"rgb.pixels"}
