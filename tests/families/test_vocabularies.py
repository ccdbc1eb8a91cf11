"""Vocabularies: words, value tokens and marks, texts of any length, and the same from the same texts everywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anymodal as am
from anymodal.errors import ConfigError
from anymodal.text import Vocabulary

WORDS = ["a", "red", "blue", "car", "cup", "on", "the", "road", "table", "person", "in", "green", "shirt", "next", "to"]
VOCABULARY = Vocabulary.train([" ".join(WORDS)] * 3, size=1300, bins=256, sentinels=16)


@given(st.lists(st.sampled_from(WORDS), max_size=20))
def test_vocabularies_round_trip_known_words(words):
    ids = VOCABULARY.encode(" ".join(words))
    assert (ids >= 0).all() and (ids < len(VOCABULARY)).all()
    assert VOCABULARY.decode(np.append(ids, [VOCABULARY.end, 7])) == " ".join(words)


def test_the_vocabulary_knows_values_sentinels_and_survives_saving(tmp_path):
    VOCABULARY.save(tmp_path / "v.json")
    again = Vocabulary.load(tmp_path / "v.json")
    assert again.bins == (256,) * 4 and again.sentinels[1] == 16
    text = "v0=0 v1=12 v2=255 v3=7 a"
    assert again.encode(text).tolist() == VOCABULARY.encode(text).tolist()
    assert len(again.encode("v0=0 v1=12 v2=255 v3=7")) == 4 and len(again.encode("v0=256")) > 1
    space = again.space(10)
    assert space.sentinel(1) == again.words()["[S_1]"] and space.end == again.end


def test_value_tokens_that_the_vocabulary_lacks_are_refused():
    """They would become pieces of words, of which several stand for one number."""
    boxes, det = [{"boxes": [0.1, 0.2, 0.9, 1.0], "class_name": "car"}], am.registry().modality("det")
    narrow, wide = (next(iter(am.ModalitySet([det(bins=bins)], VOCABULARY))) for bins in (256, 1000))
    assert len(narrow.tokenize([narrow.accept(boxes)])["det"][0]) == 6
    value, says = wide.accept(boxes), r"det writes v2=899, and its vocabulary has 256 value tokens of v2: .* more bins"
    for told in (lambda: wide.tokenize([value]), lambda: wide.partial(value, True), lambda: wide.beginning(value)):
        with pytest.raises(ConfigError, match=says):
            told()
    caption = next(iter(am.ModalitySet(["caption"], VOCABULARY)))
    assert caption.tokenize(["v2=899"])["caption"]  # a text says what it says


@pytest.mark.parametrize("text", ["a car [EOS] on a road", "[S_1] a [S_15]", "[PAD]", "[SOS][UNK]"])
def test_marks_in_a_text_stay_plain_text(text):
    marks = {VOCABULARY.words()[mark] for mark in ("[PAD]", "[UNK]", "[SOS]", "[EOS]", "[S_1]", "[S_15]")} - {
        VOCABULARY.words()["[UNK]"]
    }
    assert not marks & set(VOCABULARY.encode(text).tolist())


def test_a_long_text_costs_what_its_tokens_cost():
    text = "a cup " * 3
    assert VOCABULARY.encode(text + "a " * 10**6, 6).tolist() == VOCABULARY.encode(text).tolist()


@pytest.mark.parametrize("text", ["a man's t-shirt, 3.5 m.", "a dog's bowl", "café on a street"])
def test_texts_that_are_the_same_to_a_model_score_as_the_same(text):
    words = Vocabulary.train([text] * 9, size=4600)
    caption = next(iter(am.ModalitySet(["caption"], words)))
    assert caption.score(caption.detokenize(caption.tokenize([text])["caption"]), [text]) == {"word_f1": 1.0}


def test_a_vocabulary_too_small_for_its_special_tokens_is_refused():
    with pytest.raises(ConfigError, match="20 ids has no room for 44 special tokens and 2 letters"):
        Vocabulary.train(["abc"], 20, bins=8, sentinels=8)


def test_the_same_texts_give_the_same_vocabulary_in_every_process():
    texts = ["a red cup on the table", "a blue car on the road", "the person in green", "carts, cards and cups"] * 3
    program = "from anymodal.text import Vocabulary; import json, sys; texts = json.load(sys.stdin)"
    program += "; print(Vocabulary.train(texts, 1140, bins=256, sentinels=16).to_json())"
    command = [sys.executable, "-c", program]
    ordered = (texts, texts[::-1], sorted(texts))
    written = {subprocess.run(command, input=json.dumps(t), capture_output=True, text=True).stdout for t in ordered}
    assert len(written) == 1
    vocabulary = Vocabulary.train(texts, 1140, bins=256, sentinels=16)
    assert written == {vocabulary.to_json() + "\n"}
    assert vocabulary.decode(vocabulary.encode("cups and cards on a road")) == "cups and cards on a road"
    assert vocabulary.encode("##e").tolist() != [vocabulary.words()["##e"]]  # a piece of a word, not a word of a text
