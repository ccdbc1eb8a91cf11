"""Aligned folders: one crop for all, other names of folders."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from aligned_layouts import as_folder, grids
from conftest import build_set
from PIL import Image

from anymodal.crops import Crop
from anymodal.data.check import check_dataset
from anymodal.data.config import DataConfig
from anymodal.data.crops import stored_crop
from anymodal.data.files.index import Wanted
from anymodal.data.files.open import open_files
from anymodal.data.files.values import open_values
from anymodal.data.sources.open import open_source
from anymodal.errors import DataError
from anymodal.plugins.registry import registry


def test_values_without_a_shape_follow_the_crop_of_the_picture(tmp_path):
    for name in ("rgb", "det", "instance"):
        (tmp_path / name).mkdir()
    labels = np.zeros((20, 40), np.uint8)
    labels[5:15, 20:30] = 1
    Image.fromarray(np.repeat(labels[..., None] * 255, 3, -1)).save(tmp_path / "rgb/a.png")
    Image.fromarray(labels).save(tmp_path / "instance/a.png")
    box = {"boxes": [0.5, 0.25, 0.75, 0.75], "class_name": "cup"}
    (tmp_path / "det/a.json").write_text(json.dumps({"instances": [box]}))
    members = [registry().modality("rgb")(size=32), *(registry().modality(n)() for n in ("det", "sam_instance"))]
    values = open_values(tmp_path, members)
    for crop, corners in (
        (None, (0.5, 0.25, 1, 0.75)),
        (Crop(0.25, 0, 0.5, 1, flip=True), (0, 0.25, 0.5, 0.75)),
    ):
        value = values.read(0, crop)
        assert value["det"][0].corners == pytest.approx(corners)
        assert value["sam_instance"][0].box == pytest.approx(corners, abs=0.02)
        bright = value["rgb"][..., 0] > 127
        assert np.array_equal(value["sam_instance"][0].pixels(32, 32), bright)


def test_what_is_computed_from_a_picture_has_its_own_size(tmp_path):
    (tmp_path / "rgb").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(noise.repeat(12, 0).repeat(12, 1)).save(tmp_path / "rgb/a.png")
    rgb, edges = registry().modality("rgb")(size=96), registry().modality("canny_edge")(size=48)
    value = open_values(tmp_path, [rgb, edges]).read(0)
    assert value["rgb"].shape == (96, 96, 3) and value["canny_edge"].shape == (48, 48)
    assert np.array_equal(value["canny_edge"], edges.at(edges.derive({"rgb": value["rgb"]}), 48))
    assert (value["canny_edge"] > 127).any()


@pytest.mark.parametrize("order", [["rgb", "depth"], ["depth", "rgb"]], ids="+".join)
def test_stored_crops_are_in_pixels_of_the_photograph_whichever_part_comes_first(tmp_path, vocabulary, order):
    files = grids(2)
    files["depth"] = {name.replace("npy", "png"): shallow() for name in files.pop("tok_depth@224")}
    root, members = as_folder(tmp_path, files), build_set(order, vocabulary)
    source = open_source(DataConfig(path=str(root), names={"rgb": "rgb@224"}), members)
    crops = [Crop(0.1, 0, 0.8, 1), Crop(0, 0, 0.5, 1, flip=True), Crop(0.2, 0.25, 0.4, 0.5)]
    whole = members["depth"].accept(root / "depth/0001.png")
    for seed in range(3):
        crop = crops[np.random.default_rng(seed).integers(3)]
        (expected,) = members["depth"].tokenize([members["depth"].crop(whole, crop)])["depth"]
        assert np.array_equal(source.sample(1, np.random.default_rng(seed))["depth"], expected)
    assert not check_dataset(root, members.modalities, {"rgb": "rgb@224"}).problems


def test_stored_crops_fit_what_shows_the_picture_in_another_size(tmp_path, vocabulary):
    """Depth of half the resolution, beside tokens alone: nothing else says how large the picture was."""
    files = grids(2)
    del files["rgb@224"], files["caption"]
    tokens = files.pop("tok_depth@224")
    files["tok_rgb@224"], files["depth"] = tokens, {name.replace("npy", "png"): shallow() for name in tokens}
    root, members = as_folder(tmp_path, files), build_set(["rgb", "depth"], vocabulary)
    source = open_source(DataConfig(path=str(root), names={"rgb": "tok_rgb@224"}), members)
    crops = [Crop(0.1, 0, 0.8, 1), Crop(0, 0, 0.5, 1, flip=True), Crop(0.2, 0.25, 0.4, 0.5)]
    whole = members["depth"].accept(root / "depth/0001.png")
    for seed in range(6):
        sample, number = source.sample(1, np.random.default_rng(seed)), np.random.default_rng(seed).integers(3)
        (expected,) = members["depth"].tokenize([members["depth"].crop(whole, crops[number])])["depth"]
        assert np.array_equal(sample["depth"], expected) and (sample["rgb"] == 1 + number).all()
    assert not check_dataset(root, members.modalities, {"rgb": "tok_rgb@224"}).problems


def test_stored_crops_without_the_centered_square_are_of_what_shows_the_picture():
    settings = np.array([[20.0, 10, 40, 60, 0], [0, 0, 50, 50, 1]])
    assert stored_crop(settings, 0, (160, 160)) == Crop(10 / 160, 20 / 160, 60 / 160, 40 / 160)
    assert stored_crop(np.array([[10.0, 10, 60, 60, 0]]), 0, (160, 160)) == Crop(1 / 16, 1 / 16, 3 / 8, 3 / 8)
    assert stored_crop(np.array([[0.0, 20, 80, 80, 0]]), 0, (60, 40)) == Crop(1 / 6, 0, 2 / 3, 1)


def shallow() -> bytes:
    """Depth of half the resolution of the pictures, as a PNG of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(np.linspace(0, 40000, 320).reshape(16, 20).astype(np.uint16)).save(file, "png")
    return file.getvalue()


def test_pictures_without_a_folder_of_their_own_are_told_where_they_belong(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    wanted = {"caption": Wanted(("caption",), (".txt",)), "rgb": Wanted(("rgb",), (".png",))}
    with pytest.raises(
        DataError, match=r"its folders: none; files such as cat\.png belong into a folder of it, such as rgb$"
    ):
        open_files(str(tmp_path), wanted)
