"""In-painting by the embedded model: what is kept stays to the bit, and no seam is seen beside it."""

from __future__ import annotations

import numpy as np
import pytest
from anymodal_scenes import BASIC, render
from known_model import SIDE

import anymodal as am

HELD_OUT = 1_000_003  # a seed of scenes that the model was not trained on


def mask_of(seed: int) -> np.ndarray:
    """One of several kinds of masks (H, W), True is kept: boxes, stripes, discs, spots, half planes; or their rest."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    unit = SIDE // 64
    top, left, high, wide = unit * rng.integers(4, 32, 4)
    kinds = [
        (rows >= top) & (rows < top + high) & (columns >= left) & (columns < left + wide),
        (rows // (4 * unit + top)) % 2 == 0,
        (rows - top - 16 * unit) ** 2 + (columns - left - 16 * unit) ** 2 < high**2 + 16 * unit**2,
        rng.random((16, 16)).repeat(SIDE // 16, 0).repeat(SIDE // 16, 1) < 0.5,
        rows * np.cos(seed) + columns * np.sin(seed) < (SIDE / 2) * (np.cos(seed) + np.sin(seed)),
    ]
    mask = kinds[seed % len(kinds)]
    return ~mask if rng.random() < 0.5 else mask


def step_at_border(picture: np.ndarray, mask: np.ndarray) -> float:
    """The mean step between neighbors of which one is kept."""
    gray = picture.astype(float).mean(-1)
    sizes = [np.abs(np.diff(gray, axis=axis))[np.diff(mask, axis=axis) != 0] for axis in (0, 1)]
    return float(np.concatenate(sizes).mean())


def painted(model: am.AnyModel, seeds: range) -> list[tuple[float, float]]:
    """Paint beside random masks and check what was kept: the steps at the borders, and in the true picture there."""
    pictures = [np.asarray(render(HELD_OUT, seed % 20, SIDE, BASIC).rgb) for seed in seeds]
    masks = [mask_of(seed) for seed in seeds]
    outs = model.generate_batch(
        [{"rgb": picture} for picture in pictures],
        "rgb",
        keep=[{"rgb": mask} for mask in masks],
        seed=list(seeds),
        steps=4,
        guidance=1.0,
    )
    found, patch = [], model.modalities["rgb"].patch
    for out, picture, mask in zip(outs, pictures, masks, strict=True):
        ids = model.tokenize({"rgb": picture})["rgb"]
        whole = mask.reshape(SIDE // patch, patch, -1, patch).all((1, 3)).ravel()
        assert np.array_equal(out.tokens["rgb"][whole], ids[whole])
        assert np.array_equal(out["rgb"][mask], picture[mask])
        found.append((step_at_border(out["rgb"], mask), step_at_border(picture, mask)))
    return found


@pytest.fixture(scope="module")
def model() -> am.AnyModel:
    return am.load("tiny", modalities=["rgb"])


def test_of_some_random_masks_what_is_kept_stays_and_no_seam_is_seen(model):
    border, true = np.mean(painted(model, range(5)), 0)  # one of each kind
    assert border <= 1.2 * true


@pytest.mark.slow
def test_of_200_random_masks_what_is_kept_stays_and_no_seam_is_seen(model):
    found = [pair for start in range(0, 200, 20) for pair in painted(model, range(start, start + 20))]
    border, true = np.mean(found, 0)
    assert len(found) == 200 and border <= 1.15 * true
