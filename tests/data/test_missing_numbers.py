"""Values of which parts are missing (`Modality.nan_is_missing`): datasets may hold NaN there, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

import anymodal as am
from anymodal.data import check_dataset, open_values
from anymodal.data.jobs import label as labeling
from anymodal.data.jobs.labelers import Chosen
from anymodal.errors import ValueProblem
from anymodal.transfer.tuning.grids import GridSolver


class Buoy(am.SignalModality):
    """Height of waves, 0 to 9 meters; NaN where nothing was measured."""

    shape, cell, codebook = (8,), (2,), 4
    low, high = 0.0, 9.0
    nan_is_missing = True


class Strict(Buoy):
    """Height of waves, 0 to 9 meters; always measured."""

    name = "buoy"
    nan_is_missing = False


@pytest.fixture
def gap(tmp_path):
    """A dataset of two samples, a quarter of the first one missing."""
    for name, first in (("a", np.nan), ("b", 1.0)):
        Buoy().write(np.array([first, first, 1, 2, 3, 4, 5, 6], np.float32), tmp_path / "buoy" / f"{name}.npy")
    return tmp_path


def test_what_is_missing_is_read_where_the_modality_says_so(gap):
    value = open_values(gap, [Buoy()]).read(0)["buoy"]
    assert np.isnan(value[:2]).all() and value[2] == 1
    with pytest.raises(ValueProblem, match=r"a\.npy holds 2 of 8 numbers that are NaN or infinite"):
        open_values(gap, [Strict()]).read(0)


def test_what_is_infinite_is_refused_all_the_same(gap):
    Buoy().write(np.array([np.nan, np.inf, 1, 2, 3, 4, 5, 6], np.float32), gap / "buoy" / "a.npy")
    with pytest.raises(ValueProblem, match=r"a\.npy holds 1 of 8 numbers that are infinite"):
        open_values(gap, [Buoy()]).read(0)


def test_a_check_says_how_much_is_missing(gap):
    report = check_dataset(gap, {"buoy": Buoy()})
    assert not list(report.problems) and report.notes == ["12.5% of buoy is unknown"]


class Watching(am.Labeler):
    """Waves as high as a picture is bright, which are not seen in the dark."""

    modality = "buoy"

    def label(self, samples):
        means = [float(picture.mean()) / 255 for picture in self.values(samples, "rgb")]
        return [np.where(np.arange(8) < 2 * (mean < 0.1), np.nan, mean * 9).astype(np.float32) for mean in means]


def test_a_labeler_may_leave_gaps(tmp_path, monkeypatch, notebook):
    notebook.add(Buoy)
    monkeypatch.setattr(labeling, "load_labeler", lambda chosen, device: Watching())
    monkeypatch.setattr(labeling, "find_labeler", lambda name, c=None: Chosen(name, c, name, ("rgb",)))
    rgb = notebook.modality("rgb")()
    for name, level in (("a", 0), ("b", 200)):
        rgb.write(np.full((16, 16, 3), level, np.uint8), tmp_path / "photos" / f"{name}.png")
    am.label_dataset(tmp_path / "photos", {"buoy": None}, tmp_path / "out", layout="folder")
    made = open_values(tmp_path / "out", [Buoy()])
    assert np.isnan(made.read(0)["buoy"]).tolist() == [True, True] + 6 * [False]
    assert np.isfinite(made.read(1)["buoy"]).all()


class Warmth(am.ImageModality):
    """The surface of the land, 250 to 330 kelvin; NaN under clouds."""

    channels, low, high, size = 2, 250.0, 330.0, 32
    nan_is_missing = True


def test_what_is_missing_of_a_map_teaches_a_transfer_nothing():
    value = np.full((32, 32, 2), 300, np.float32)
    value[:8], value[8:16, :, 0] = np.nan, np.nan
    targets = GridSolver(Warmth(), 2, False, (32, 32)).targets(value, (4, 4))
    assert np.array_equal(targets["known"], np.arange(32)[:, None].repeat(32, 1) >= 16)
    assert Warmth().measured(value[16:]).all()
