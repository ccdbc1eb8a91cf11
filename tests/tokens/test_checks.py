"""A plugin whose code fails or returns nonsense while in use: the error names it, and the model never sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anymodal as am
from anymodal.errors import PluginError
from anymodal.model import ModelConfig
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.tokens import Layout
from anymodal.tokens.checks import checked_tokens, unfit_tokens

NET = {"dim": 16, "depth": 1, "heads": 2}
ROOM = np.full((16, 16), 0.5, np.float32)


class Healthy(am.ImageModality):
    """A picture."""

    channels = 1


class Odd(am.ImageModality):
    """A picture whose methods a test replaces."""

    channels = 1


@pytest.fixture(scope="module")
def model() -> am.AnyModel:
    members = [cls(size=16, patch=8, codebook=16, latent=4) for cls in (Healthy, Odd)]
    for member in members:
        member.tokenizer = VQTokenizer(member.tokenizer_config(NET, NET)).eval()
    return am.AnyModel(am.ModalitySet(members), ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=2))


def fail(*_: Any, **__: Any) -> Any:
    raise IndexError("off the edge")


def test_code_that_raises_is_named(model, monkeypatch):
    """Kind 24 of breakage."""
    monkeypatch.setattr(Odd, "preprocess", fail)
    monkeypatch.setattr(Odd, "postprocess", fail)
    for call in (lambda: model.tokenize({"odd": ROOM}), lambda: model.generate({"odd": ROOM}, "healthy")):
        with pytest.raises(PluginError, match=r"'odd' \(.*Odd\) failed in .* of ndarray of shape \(16, 16\) and dtype"):
            call()
    with pytest.raises(PluginError, match=r"'odd' .* failed in detokenize of ndarray of shape \(4,\) .* IndexError"):
        model.generate({"healthy": ROOM}, "odd", steps=1)
    assert model.tokenize({"healthy": ROOM})["healthy"].shape == (4,)
    assert model.generate({}, "healthy", steps=1)["healthy"].shape == (16, 16)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ([1], "list of length 1, not a dict of lists of arrays by stream"),
        ({"odd": np.zeros(4, int)}, "not a list of one array for each value"),
        (
            {"odd": [np.zeros(5, int)]},
            "of shape (5,) and dtype int64 for the stream 'odd', which takes 4 whole numbers",
        ),
        ({"odd": [np.zeros((2, 2), int)]}, "takes 4 whole numbers"),
        ({"odd": [np.zeros(4)]}, "and dtype float64 for the stream 'odd', which takes 4 whole numbers"),
        ({"odd": [np.array([0, 1, 2, 16])]}, "takes ids from 0 to 15 (these go from 0 to 16)"),
        ({"odd": [np.array([0, 1, 2, -1])]}, "takes ids from 0 to 15"),
    ],
)
def test_what_is_no_tokens_is_caught_before_the_model(model, monkeypatch, returned, words):
    """Kind 25 of breakage."""
    monkeypatch.setattr(Odd, "tokenize", lambda self, values: returned)
    monkeypatch.setattr(Odd, "condition", lambda self, values, streams: returned)
    monkeypatch.setattr(model.transformer, "forward", fail)
    for verb, call in (("tokenize", model.tokenize), ("condition", lambda v: model.generate(v, "healthy"))):
        with pytest.raises(PluginError) as caught:
            call({"odd": ROOM})
        assert words in str(caught.value) and str(caught.value).endswith(f"from {verb}")
        assert "Odd" in str(caught.value)
    assert model.tokenize({"healthy": ROOM})


def test_ids_of_a_small_type_are_read_as_what_they_are(model, monkeypatch):
    """A plugin may return bytes, such as the pixels of a map of classes."""
    ids = np.array([9, 15, 0, 3])
    made = []
    for kind in (np.int64, np.uint8):
        monkeypatch.setattr(Odd, "tokenize", lambda self, values, kind=kind: {"odd": [ids.astype(kind)]})
        monkeypatch.setattr(Odd, "condition", lambda self, values, streams, kind=kind: self.tokenize(values))
        assert model.tokenize({"odd": ROOM})["odd"].dtype == np.int64
        made.append(model.features({"odd": ROOM}).states.numpy(force=True))
    assert np.array_equal(*made)


@pytest.mark.parametrize("rows", [np.zeros((4, 3), np.float32), np.full((4, 192), np.nan), np.zeros((4, 192), int)])
def test_rows_of_dense_streams(rows):
    rgb = am.registry().modality("rgb")(size=16, patch=8)
    layout = am.ModalitySet([rgb]).layout
    with pytest.raises(PluginError, match=r"rgb\.pixels"):
        checked_tokens(rgb, layout, "condition", {"rgb.pixels": [rows]})
    right = np.zeros((4, 192), np.float32)
    assert checked_tokens(rgb, layout, "condition", {"rgb.pixels": [right]})["rgb.pixels"] is right


@pytest.mark.parametrize(
    ("space", "read", "stored"),
    [
        (TokenSpace.grid(8, 2, 2), {4}, {4}),
        (TokenSpace(8, 4), {0, 1, 2, 3, 4}, {4}),
        (TokenSpace.sequence(8, 4, sentinels=(0, 3), end=7), {0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3, 4}),
        (DenseSpace.grid(3, 2, 2), {0, 1, 2, 3, 4}, {4}),
        (DenseSpace(3, 4, order="left-to-right"), {0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3, 4}),
    ],
)
def test_a_model_reads_parts_of_values_and_whole_ones_are_stored(space, read, stored):
    layout = Layout([Stream("a", "a", space, target=False)])

    def fitting(stored: bool) -> set[int]:
        rows = [np.zeros((n, 3), np.float16) if layout["a"].is_dense else np.zeros(n, int) for n in range(9)]
        return {n for n, tokens in enumerate(rows) if not unfit_tokens(layout, "a", tokens, stored=stored)}

    assert fitting(False) == read and fitting(True) == stored
