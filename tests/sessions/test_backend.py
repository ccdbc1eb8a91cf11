"""Which backend runs a model, said before anything is read."""

from __future__ import annotations

import pytest

import anymodal as am
from anymodal.errors import ConfigError


def test_weights_are_not_graphs():
    with pytest.raises(ConfigError, match=r"has weights and no ONNX graphs; make some: anymodal export"):
        am.load("tiny", backend="onnx")


def test_a_misspelled_backend_is_named():
    with pytest.raises(ConfigError, match="did you mean 'onnx'"):
        am.load("tiny", backend="onx")
