"""Places that are not finite, when a picture of numbers is resized."""

import numpy as np
import pytest

from anymodal.families.grids import resize

RAMP = np.add.outer(np.arange(32.0), np.arange(32.0)).astype(np.float32)


def holed(value, *, rows=slice(8, 9), columns=slice(8, 9), hole=np.nan):
    with_hole = value.copy()
    with_hole[rows, columns] = hole
    return with_hole


@pytest.mark.parametrize("size", [16, 24, 48, 64, 100])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_one_hole_reaches_no_other_place(size, hole):
    """A hole of a pixel is at most the pixels it becomes, and the places beside it stay near what they were."""
    whole, found = (resize(each, size, (0, 0, 32, 32), False) for each in (RAMP, holed(RAMP, hole=hole)))
    known = np.isfinite(found)
    assert (~known).sum() <= (size / 32 + 1) ** 2 and np.abs(found - whole)[known].max() < 2
    beyond = np.ones(size, bool)
    beyond[int(4 * size / 32) : int(13 * size / 32) + 1] = False  # farther than bicubic weights reach
    assert np.array_equal(found[beyond], whole[beyond])


def test_holes_stay_where_they_are():
    value = holed(RAMP, rows=slice(8, 16), columns=slice(4, 12))
    for size in (16, 64):
        rows, columns = (slice(s.start * size // 32, s.stop * size // 32) for s in (slice(8, 16), slice(4, 12)))
        expected = np.zeros((size, size), bool)
        expected[rows, columns] = True
        assert np.array_equal(np.isnan(resize(value, size, (0, 0, 32, 32), False)), expected)


def test_each_channel_has_holes_of_its_own_and_infinite_places_keep_their_sign():
    value = np.stack([holed(RAMP, hole=-np.inf), RAMP, np.full_like(RAMP, np.nan)], -1)
    found = resize(value, 64, (0, 0, 32, 32), False)
    assert (found[16:18, 16:18, 0] == -np.inf).all() and np.isnan(found[..., 2]).all()
    assert np.array_equal(found[..., 1], resize(RAMP, 64, (0, 0, 32, 32), False))
