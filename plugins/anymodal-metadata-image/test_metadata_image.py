from __future__ import annotations

import numpy as np
import pytest
from anymodal_metadata_image import MetadataImage, MetadataImageLabeler, appearance

from anymodal.testing import conformance

test_conformance = conformance("metadata_image")


def test_a_gray_picture_has_no_color_and_no_entropy():
    assert appearance(np.full((8, 8, 3), 100, np.uint8)) == pytest.approx(
        {"colorfulness": 0, "brightness": 100, "contrast": 0, "saturation": 0, "entropy": 0}
    )


def test_numbers_by_hand():
    halves = np.zeros((4, 4, 3), np.uint8)
    halves[:2] = 255
    found = appearance(halves)
    assert found["brightness"] == found["contrast"] == pytest.approx(127.5)
    assert found["entropy"] == pytest.approx(1)
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert appearance(red)["saturation"] == pytest.approx(255)
    assert appearance(red)["colorfulness"] == pytest.approx(0.3 * np.hypot(200, 100))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert 6 < appearance(noise)["entropy"] < 8


def test_the_labeler_knows_the_size():
    (found,) = MetadataImageLabeler().label([{"rgb": np.zeros((30, 40, 3), np.uint8)}])
    assert (found["original_width"], found["original_height"]) == (40, 30)
    assert MetadataImage().accept(found) == found
    assert "original_width" not in MetadataImage().derive({"rgb": np.zeros((30, 40, 3), np.uint8)})
