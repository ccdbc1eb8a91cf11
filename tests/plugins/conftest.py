"""An empty shelf with one healthy modality."""

from __future__ import annotations

import sys

import pytest
from shelves import MODALITY, Shelf


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty shelf on `sys.path`, with one healthy modality; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shelf(tmp_path).put(
        "healthy-one", {"healthy": "am_healthy:Healthy"}, {"am_healthy": MODALITY.format(name="Healthy")}
    )
    for name in set(sys.modules) - before:
        if name.startswith("am_"):
            del sys.modules[name]
