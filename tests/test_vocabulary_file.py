"""A vocabulary file is what `Vocabulary.train` and 4M write, or it is refused before the library sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal import vocabulary_file
from anymodal.errors import CheckpointError, ConfigError
from anymodal.text import Vocabulary

WORDS = Vocabulary.train(["a red cup of tea", "two cars"] * 9, size=400, bins=5, sentinels=4, words=["Traffic light"])
CONTENT = json.loads(WORDS.to_json())
TEXTS = ["A red  cup", "v0=3 [S_1] traffic light", "[EOS] unknown ##a", "ÉTÉ", ""]


def read(content: object, folder: Path) -> Vocabulary:
    path = folder / "vocabulary.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Vocabulary.load(path)


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(CONTENT))
    change(content)
    return content


def test_what_is_trained_is_read_back_the_same(tmp_path):
    back = read(CONTENT, tmp_path)
    assert back.to_json() == WORDS.to_json()
    for text in TEXTS:
        assert back.encode(text, marks=True).tolist() == WORDS.encode(text, marks=True).tolist()


def test_what_4m_published_is_read(published_words):
    assert len(Vocabulary.load(published_words)) == 30_000


PADDING = {"strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
PADDING |= {"pad_type_id": 0, "pad_token": "[PAD]"}
TRUNCATION = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
ADDED = CONTENT["added_tokens"][-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(padding=PADDING), "padding must be null"),
        (lambda c: c.update(truncation=TRUNCATION), "truncation must be null"),
        (lambda c: c.update(post_processor={"type": "ByteLevel"}), "post_processor must be null"),
        (lambda c: c.update(normalizer={"type": "Lowercase"}), "normalizer must be"),
        (lambda c: c.update(normalizer=None), "normalizer must be"),
        (lambda c: c["normalizer"].update(lowercase=False), "normalizer must be"),
        (lambda c: c["normalizer"].update(lowercase=1), "normalizer must be"),
        (lambda c: c["normalizer"].update(more=1), "normalizer must be"),
        (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer must be"),
        (lambda c: c.update(pre_tokenizer={"type": "Sequence", "pretokenizers": []}), "pre_tokenizer must be"),
        (lambda c: c.update(decoder=None), "decoder must be"),
        (lambda c: c["decoder"].update(cleanup=False), "decoder must be"),
        (lambda c: c.update(version="2.0"), "version must be"),
        (lambda c: c.update(more=1), "the file must be an object of"),
        (lambda c: c.pop("padding"), "the file must be an object of"),
        (lambda c: c["model"].update(type="BPE"), "model.type must be"),
        (lambda c: c["model"].update(unk_token="[PAD]"), "model.unk_token must be"),
        (lambda c: c["model"].update(continuing_subword_prefix=""), "model.continuing_subword_prefix must be"),
        (lambda c: c["model"].update(max_input_chars_per_word=2**40), "model.max_input_chars_per_word must be"),
        (lambda c: c["model"].update(vocab={}), "model.vocab must hold"),
        (lambda c: c["model"].update(vocab=[["a", 0]]), "model.vocab must hold"),
        (lambda c: c["model"]["vocab"].update(new=0), "model.vocab numbers its words"),
        (lambda c: c["model"]["vocab"].update(new=10**6), "model.vocab numbers its words"),
        (lambda c: c["model"]["vocab"].update(new=-1), "model.vocab numbers its words"),
        (lambda c: c["model"]["vocab"].update(new=True), "model.vocab numbers its words"),
        (lambda c: c["model"]["vocab"].update(new=None), "model.vocab numbers its words"),
        (lambda c: c["model"]["vocab"].update(new=2**64), "model.vocab numbers its words"),
        (lambda c: c["model"]["vocab"].update({"": len(c["model"]["vocab"])}), "words of whole letters"),
        (lambda c: c["model"]["vocab"].update({"\ud800": len(c["model"]["vocab"])}), "words of whole letters"),
        (lambda c: c.update(added_tokens={}), "added_tokens must be a list"),
        (lambda c: c["added_tokens"].append({**ADDED, "content": "stranger"}), "added_tokens holds words"),
        (lambda c: c["added_tokens"].append(ADDED), "added_tokens holds words"),
        (lambda c: c["added_tokens"].pop(1), r"added_tokens must hold all special .*none for \[UNK\]"),
        (lambda c: c["added_tokens"].pop(6), "added_tokens must hold all special"),
        (lambda c: c["added_tokens"].append({"content": "a"}), "added_tokens must be an object"),
        (lambda c: c["added_tokens"][0].update(id=1), "added_tokens holds words"),
        (lambda c: c["added_tokens"][0].update(lstrip=True), r"'\[PAD\]' must have"),
        (lambda c: c["added_tokens"][0].update(normalized=True), r"'\[PAD\]' must have"),
        (lambda c: c["added_tokens"][5].update(single_word=False), "must have"),
        (lambda c: c["added_tokens"][-1].update(special=False), "must have"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_before_the_library_sees_it(change, words, tmp_path, monkeypatch):
    content = changed(change)
    monkeypatch.setattr("tokenizers.Tokenizer.from_str", None)
    with pytest.raises(CheckpointError, match=words) as caught:
        read(content, tmp_path)
    assert "vocabulary.json is not a vocabulary" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "{", "[" * 100_000, '{"model": 1' + "0" * 5000 + "}", "\0"])
def test_what_is_no_vocabulary_at_all(text, tmp_path):
    with pytest.raises(CheckpointError, match=r"vocabulary\.json is not a vocabulary"):
        read(text, tmp_path)


@pytest.mark.parametrize("word", ["\u0301", " ", "\u200b\t"])
def test_a_word_of_which_nothing_stays_is_refused(word):
    with pytest.raises(ConfigError, match="no vocabulary can be trained with these words"):
        Vocabulary.train(["a"] * 9, size=300, bins=1, sentinels=4, words=[word])


def test_a_panic_of_the_library_is_one_error(tmp_path, monkeypatch):
    class PanicException(BaseException):
        """As pyo3 raises it: no Exception."""

    def panic(*_: object) -> None:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr("tokenizers.Tokenizer.from_str", panic)
    with pytest.raises(CheckpointError, match="is not a vocabulary: called"):
        read(CONTENT, tmp_path)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)
PLACES = [(key,) for key in CONTENT] + [("model", key) for key in CONTENT["model"]] + [("added_tokens", 3)]


@settings(deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_any_json_in_any_place_is_refused_or_the_same(place, value):
    content = json.loads(json.dumps(CONTENT))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        vocabulary_file.checked(content, "words.json")
    except am.AnymodalError:
        return
    assert json.dumps(content, sort_keys=True) == json.dumps(CONTENT, sort_keys=True)
