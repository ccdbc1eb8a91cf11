"""Plugins whose methods fail or return something else while a model is used are named, and no result is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anymodal as am
from anymodal.errors import PluginError
from anymodal.testing.tiny import tiny_model

PICTURE = np.zeros((32, 32), np.float32)


class Odd(am.ImageModality):
    """Gray pictures."""

    channels = 1


def leave(*_: Any, **__: Any) -> None:
    raise SystemExit(4)


def model(method: str, behavior: Any) -> am.AnyModel:
    return tiny_model([type("Odd", (Odd,), {"__doc__": "Gray pictures.", method: behavior}), "rgb"])


@pytest.mark.parametrize("method", ["show_over", "show"])
@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        (lambda *_, **__: None, "returns NoneType from show, not a PIL image"),
        (lambda *_, **__: np.zeros((2, 2)), r"returns ndarray of shape \(2, 2\) .* from show"),
        (leave, "failed in show of ndarray .*: SystemExit: 4"),
    ],
)
def test_what_cannot_be_shown_is_saved_all_the_same(tmp_path, method, behavior, words):
    made = model(method, behavior).generate({"rgb": np.zeros((32, 32, 3), np.uint8)}, "odd", seed=0)
    with pytest.raises(PluginError, match=words):
        made.show()
    with pytest.raises(PluginError, match=words):
        made.save(tmp_path)
    kept = {"odd.png", "inputs", "tokens.safetensors", "values.safetensors", "run.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize(
    ("method", "behavior", "words"),
    [
        ("accept", leave, "failed in accept of ndarray .*: SystemExit: 4"),
        ("extent", lambda *_: (0, 0), r"failed in extent .* returns \(0, 0\), not \(width, height\) above 0"),
        ("extent", lambda *_: "ab", "failed in extent"),
        ("sampling", lambda *_: None, "failed in sampling"),
        ("sampling", leave, "failed in sampling: SystemExit: 4"),
        ("detokenize_stream", leave, "failed in detokenize.*: SystemExit: 4"),
    ],
)
def test_what_fails_in_use_is_blamed_on_its_plugin(method, behavior, words):
    odd = model(method, behavior)
    with pytest.raises(PluginError, match=words):
        odd.generate({"odd": PICTURE}, "rgb", seed=0)
        odd.generate({"rgb": np.zeros((32, 32, 3), np.uint8)}, "odd", seed=0)


def test_what_cannot_be_written_is_blamed_on_its_plugin(tmp_path):
    for method, behavior in (("write", leave), ("suffixes", ())):
        made = model(method, behavior).generate({"rgb": np.zeros((32, 32, 3), np.uint8)}, "odd", seed=0)
        with pytest.raises(PluginError, match=r"modality 'odd' .* failed in write"):
            made.save(tmp_path)
