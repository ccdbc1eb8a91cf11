"""What other libraries do that we took to be otherwise (findings/) does not reach our users."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from aligned_layouts import as_tars
from PIL import Image
from safetensors.numpy import load_file

import anymodal as am
from anymodal.crops import Crop
from anymodal.data.files.index import key_and_suffix
from anymodal.data.files.values import open_values
from anymodal.data.order import generator
from anymodal.data.sources.huggingface import load_rows
from anymodal.data.store.arrays import write_arrays

FOLDER = Path(__file__).parent.parent / "findings"
README = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.stem)
def test_scripts_are_short_pinned_and_listed(path):
    """They need a network, so they are not run here."""
    text = path.read_text()
    installed = re.search(r" install (.*)", text)
    assert installed and re.search(r"\w==\d", installed[1]) and len(text.splitlines()) < 60 and "# Seen:" in text
    assert "import anymodal" not in text and f"[{path.stem}]({path.name})" in README


def test_views_are_written_as_they_are(tmp_path, small_model):
    view = np.arange(12, dtype=np.int64).reshape(3, 4).T
    write_arrays({"a": view}, tmp_path / "a.safetensors")
    assert np.array_equal(load_file(tmp_path / "a.safetensors")["a"], view)
    outputs = small_model.generate({"rgb": np.zeros((32, 32, 3), np.uint8)}, "depth", seed=0)
    outputs.tokens["depth"] = np.arange(32, dtype=np.int64)[::2]
    outputs.save(tmp_path / "out")
    assert np.array_equal(load_file(tmp_path / "out/tokens.safetensors")["depth"], np.arange(32)[::2])


def test_mirrored_values_own_their_memory():
    for name in ("rgb", "depth", "semseg"):
        modality = am.registry().modality(name)(size=8, patch=4)
        value = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
        value = np.stack([value] * 3, -1) if name == "rgb" else value.astype(np.float32) if name == "depth" else value
        mirrored = modality.crop(value, Crop(0, 0, 1, 1, flip=True))
        assert mirrored.flags.c_contiguous and np.array_equal(mirrored, value[:, ::-1])


def test_a_constant_of_sixteen_bits_stays_one(tmp_path):
    heat = am.image("heat", channels=1, low=0, high=65535)
    Image.fromarray(np.full((50, 70), 1000, np.uint16)).save(tmp_path / "a.png")
    modality = heat()
    assert np.allclose(modality.crop(modality.read(tmp_path / "a.png"), Crop(0.1, 0.1, 0.7, 0.7)), 1000, atol=0.01)


def test_many_channels_are_written_as_an_array(tmp_path):
    planet = am.image("planet", channels=12, low=0, high=1)()
    value = np.random.default_rng(0).random((20, 30, 12), np.float32)
    assert planet.suffixes[0] == ".npy"
    planet.write(value, tmp_path / "a.npy")
    assert np.array_equal(planet.read(tmp_path / "a.npy"), value)


def test_hidden_names_are_no_samples():
    assert key_and_suffix("cats/.a.txt") == key_and_suffix("._a.png") == ("", "")
    assert key_and_suffix("cats/a.txt") == ("cats/a", ".txt")


def test_sixteen_bits_in_a_tar_are_read_whole(tmp_path):
    heat = am.image("heat", channels=1, low=0, high=65535)()
    Image.fromarray(np.array([[300, 1000], [20_000, 65_535]], np.uint16)).save(tmp_path / "a.png")
    as_tars(tmp_path / "tars", {"heat": {"0000.png": (tmp_path / "a.png").read_bytes()}})
    value = open_values(str(tmp_path / "tars"), am.ModalitySet([heat])).read_file("heat", 0)
    assert np.allclose(value, [[300, 1000], [20_000, 65_535]], rtol=1e-5)


def test_numbers_of_rows_keep_their_digits(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"a": [[16777217.0, 0.1]], "b": [np.array([1, 255], np.uint8)]}).save_to_disk(tmp_path)
    row = load_rows(str(tmp_path))[0]
    assert row == {"a": [16777217.0, 0.1], "b": [1, 255]}


def test_orders_depend_on_the_whole_seed():
    drawn = [generator(seed, "order").random() for seed in (5, 5 + 2**32, 5 + 2**63)]
    assert len(set(drawn)) == 3 and drawn[0] == generator(5, "order").random()
