"""Masks in all the forms that files have, and sampling options that are no numbers or would never end."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from PIL import Image

from anymodal.errors import AnymodalError, ConfigError, GenerationError
from anymodal.generation.keeping import cut_mask
from anymodal.sampling import Sampling

SIDE = 16
LEFT = np.zeros((SIDE, SIDE), np.uint8)
LEFT[:, : SIDE // 4] = 255


def kept(value) -> np.ndarray:
    return cut_mask("rgb", value, (SIDE, SIDE))


def test_a_mask_is_the_same_in_every_form(tmp_path):
    path = tmp_path / "mask.png"
    palette = Image.fromarray(LEFT // 255 ^ 1).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0] + [0] * 750)  # 0 is white
    gray = Image.fromarray(LEFT)
    opaque = Image.merge("LA", (gray, Image.new("L", gray.size, 255)))
    for picture in (gray, gray.convert("1"), gray.convert("RGB"), palette, opaque, Image.fromarray(LEFT // 255)):
        picture.save(path)
        for value in (path, path.read_bytes(), Image.open(path)):
            assert np.array_equal(kept(value), LEFT > 0), picture.mode
    for value in (LEFT > 0, LEFT, LEFT // 255, LEFT / 255, LEFT.tolist(), LEFT[..., None], np.dstack([LEFT] * 3)):
        assert np.array_equal(kept(value), LEFT > 0)


def test_sixteen_bits_have_their_own_half(tmp_path):
    deep = np.where(LEFT > 0, 65_535, 300).astype(np.uint16)  # 300 is nearly black
    cv2.imwrite(str(tmp_path / "mask.png"), deep)
    assert np.array_equal(kept(tmp_path / "mask.png"), LEFT > 0)
    assert np.array_equal(kept(deep), LEFT > 0)


def test_a_turned_mask_is_turned_however_it_is_given(tmp_path):
    turned = Image.Exif()
    turned[0x112] = 6
    Image.fromarray(LEFT).save(tmp_path / "mask.png", exif=turned)
    by_path = kept(tmp_path / "mask.png")
    assert np.array_equal(by_path, np.rot90(LEFT > 0, -1))
    assert np.array_equal(kept(Image.open(tmp_path / "mask.png")), by_path)


@pytest.mark.parametrize("mode", ["alpha", "colors"])
def test_what_is_no_mask_of_one_number_a_pixel_is_refused(tmp_path, mode):
    channels = [np.full_like(LEFT, 255)] * 3 + [LEFT] if mode == "alpha" else [LEFT, 0 * LEFT, 0 * LEFT]
    Image.fromarray(np.dstack(channels)).save(tmp_path / "mask.png")
    for value in (tmp_path / "mask.png", Image.open(tmp_path / "mask.png"), np.dstack(channels)):
        with pytest.raises(GenerationError, match="mask of 'rgb'"):
            kept(value)


@pytest.mark.parametrize("value", [np.where(LEFT > 0, np.nan, 0), [[1], [1, 2]], np.dstack([LEFT] * 4), None, True, {}])
def test_what_is_no_mask_at_all_is_told(value):
    with pytest.raises(GenerationError, match="a mask of 'rgb' is a picture or an array"):
        kept(value)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 10**9},
        {"samples": 10**9},
        {"guidance": 10**400},
        {"guidance": math.nan},
        {"scheme": "halton:nan"},
        {"scheme": "halton:5"},
        {"scheme": {"name": "halton", "rolled": "false"}},
        {"scheme": "beam:1000000"},
    ],
)
def test_options_without_end_or_meaning_are_refused(options):
    with pytest.raises(ConfigError):
        Sampling(**options)
    assert not Sampling(scheme="halton:0").scheme.rolled


@pytest.mark.parametrize("given", [np.ones(3), 5, "rgb", ["rgb"]])
@pytest.mark.parametrize("option", ["weights", "options"])
def test_options_by_name_are_a_dict(small_model, picture, option, given):
    with pytest.raises(GenerationError, match=f"{option} are a dict such as"):
        small_model.generate({"rgb": picture}, "depth", **{option: given})


@pytest.mark.parametrize("option", ["weights", "options"])
def test_names_of_options_are_words(small_model, picture, option):
    with pytest.raises(AnymodalError, match=f"{option} name 5, which is not"):
        small_model.generate({"rgb": picture}, "depth", **{option: {5: {}}})
