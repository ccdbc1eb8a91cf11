"""Plugins of earlier versions of the API, frozen as they were, load and work."""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest

from anymodal.plugins.registry import Registry
from anymodal.testing import check

ROOMS = sorted((Path(__file__).parent / "museum").glob("api_*"))


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
