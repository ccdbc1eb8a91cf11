"""A cache of its own for every test, and a small set to read datasets with."""

from __future__ import annotations

import pytest
from conftest import build_set

import anymodal as am


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def small(vocabulary) -> am.ModalitySet:
    """Pictures, depth and captions."""
    return build_set(["rgb", "depth", "caption"], vocabulary)
