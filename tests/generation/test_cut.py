"""What of an input a model does not read is said, once; and no input is slow without bound."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from anymodal_t5_caption import T5Caption
from processor_time import slowness

import anymodal as am
from anymodal.generation import cut
from anymodal.generation.batch import encoder_inputs
from anymodal.text import Vocabulary

LONG = "a red car and a dog, " * 2000


@pytest.fixture
def said(caplog):
    cut._tell.cache_clear()
    with caplog.at_level(logging.WARNING):
        yield lambda: [record.getMessage() for record in caplog.records]


def test_a_long_text_is_said_to_be_cut_once(small_model, said):
    length = small_model.modalities.layout["caption"].space.length
    for _ in range(2):
        small_model.generate({"caption": LONG}, "depth", steps=1)
    assert said() == [
        f"caption: what is given has more than the {length} tokens that this model reads; the rest is left out"
    ]


def test_what_fits_is_not_said_to_be_cut(small_model, said, picture):
    small_model.generate({"caption": "a dog", "rgb": picture}, "depth", steps=1)
    vocabulary, length = small_model.modalities["caption"].vocabulary, small_model.modalities["caption"].length
    assert isinstance(vocabulary, Vocabulary)
    words = next(text for n in range(1, 200) if len(vocabulary.encode(text := "a " * n)) == length - 1)
    small_model.generate({"caption": words}, "depth", steps=1)
    assert said() == []
    small_model.generate({"caption": words + "a dog"}, "depth", steps=1)
    assert len(said()) == 1


def test_features_say_it_too(small_model, said):
    encoder_inputs(small_model.modalities, [{"caption": "a dog"}, {"caption": LONG}])
    assert len(said()) == 1


def test_rows_of_a_text_encoder_say_it_too(said):
    rows = T5Caption(width=16, length=5)
    modalities = am.ModalitySet([rows, am.registry().modality("metadata_image")(length=8)], None)
    for count, told in ((5, 0), (6, 1), (7, 1)):
        encoder_inputs(modalities, [{"t5_caption": np.ones((count, 16), np.float32)}])
        assert len(said()) == told
    assert said() == [
        "t5_caption: what is given has more than the 5 tokens that this model reads; the rest is left out"
    ]


@pytest.mark.parametrize("text", [LONG * 20, "x" * 500_000, "😀" * 50_000, "\n" * 100_000 + "a", "á" * 100_000])
def test_a_very_long_text_takes_no_longer_than_it_is(small_model, said, text):
    before = time.process_time()
    tokens = small_model.tokenize({"caption": text})["caption"]
    assert time.process_time() - before < 5 * slowness()
    assert len(tokens) <= small_model.modalities["caption"].length and np.issubdtype(tokens.dtype, np.integer)
