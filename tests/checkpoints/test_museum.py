"""Plugins and checkpoints of earlier versions, frozen as they were, load and work."""

from __future__ import annotations

import json
import sys
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
from published_made import same

import anymodal as am
from anymodal.plugins.registry import Registry
from anymodal.testing import check

ROOMS = sorted((Path(__file__).parents[1] / "museum").glob("api_*"))
OLDEST = Path(__file__).parents[1] / "museum" / "checkpoint_1"


@pytest.fixture(params=ROOMS, ids=lambda room: room.name)
def museum(request, monkeypatch) -> Registry:
    monkeypatch.syspath_prepend(str(request.param))
    sys.modules.pop("anymodal_museum", None)
    entries = [e for d in distributions(path=[str(request.param)]) for e in d.entry_points if e.group == "anymodal"]
    return Registry(entries, {"ANYMODAL_STRICT": "1"})


def test_it_loads_and_works(museum):
    modality = museum.modality("museum")(offset=100.0)
    value = np.linspace(-300, 8000, 64, dtype=np.float32).reshape(8, 8)
    assert np.allclose(modality.postprocess(modality.preprocess(value)), value, atol=0.01)
    assert modality.score([value], [value + 2])["meters"] == pytest.approx(2)
    assert museum.labeler("museum")().label([{"rgb": np.ones((2, 2, 3))}])[0].tolist() == [[1, 1], [1, 1]]
    assert not museum.problems


def test_it_passes_the_rules(museum):
    assert [str(result) for result in check(museum.modality("museum")) if result.bad] == []


def test_a_checkpoint_of_format_version_1_says_and_shows_what_it_did():
    """Saved and run by the code of ac03861: keys `numbers`, `licence` and `colours`, and the value 'standardise'."""
    model = am.load(OLDEST)
    assert '"numbers"' in (OLDEST / "config.json").read_text()
    depth, palette = model.modalities["depth"], model.modalities["color_palette"]
    assert (depth.size, depth.scaling, palette.colors) == (32, "standardize", 3)
    assert model.about.license == "apache-2.0"
    out = model.generate({"color_palette": [[10, 20, 30], [1, 2, 3]]}, "depth", seed=0)
    assert out.tokens["depth"].tolist() == [37, 26, 55, 1, 9, 55, 48, 18, 15, 7, 31, 39, 39, 18, 20, 60]
    assert out["depth"].shape == (32, 32) and np.isfinite(out["depth"]).all()
    written = model.generate({}, "color_palette", seed=0).tokens["color_palette"].tolist()
    assert written == [
        *(158, 242, 28, 23, 72, 190, 132, 256, 121, 140, 76, 111),
        *(18, 40, 75, 120, 156, 218, 40, 61, 168, 241, 65, 3),
    ]


def test_an_old_checkpoint_is_saved_in_todays_format(tmp_path):
    old = am.load(OLDEST)
    folder = old.save_pretrained(tmp_path / "new")
    config = json.loads((folder / "config.json").read_text())
    assert config["format_version"] == 2 and "numbers" not in config["modalities"]["depth"]
    assert same(am.load(folder).transformer, old.transformer)
