"""The file of a vocabulary, checked before the library that reads it sees it.

The JSON that `tokenizers` reads can say more than a vocabulary is: padding, truncation, normalizers and post-processors
change ids without a word, and a few contents end the process. So only what `Vocabulary.train` and 4M write is read: a
WordPiece model after BERT's normalizer and pre-tokenizer, special tokens, marks, and names of classes as whole words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from anymodal.errors import CheckpointError, brief

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[SOS]", "[EOS]"
SPECIAL, CONTINUED = (PAD, UNKNOWN, START, END), "##"
MOST_WORDS = 2**20
MARKS = re.compile(r"\[S_[0-9]{1,7}\]|v[0-3]=[0-9]{1,7}")
NORMALIZER: dict[str, Any] = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
FIXED: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "normalizer": NORMALIZER,
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": None,
    "decoder": {"type": "WordPiece", "prefix": CONTINUED, "cleanup": True},
}
MODEL: dict[str, Any] = {
    "type": "WordPiece",
    "unk_token": UNKNOWN,
    "continuing_subword_prefix": CONTINUED,
    "max_input_chars_per_word": 100,
}
ADDED: dict[str, Any] = {"lstrip": False, "rstrip": False, "special": True}


def checked(content: object, source: str) -> str:
    """The JSON text of a vocabulary whose parsed content is what one consists of.

    Raises CheckpointError for anything else, with the part that is not; `source` is what errors name.
    """
    content = _object(content, {*FIXED, "model", "added_tokens"}, "the file", source)
    for key, value in FIXED.items():
        _expect(content[key], value, key, source)
    model = _object(content["model"], {*MODEL, "vocab"}, "model", source)
    for key, value in MODEL.items():
        _expect(model[key], value, f"model.{key}", source)
    words = _words(model["vocab"], source)
    _check_added(content["added_tokens"], words, source)
    return json.dumps(content)


def _words(vocab: object, source: str) -> dict[str, int]:
    """The words by id, which are all there and given once."""
    if not isinstance(vocab, dict) or not 0 < len(vocab) <= MOST_WORDS:
        raise _unfit(source, f"model.vocab must hold from 1 to {MOST_WORDS} words", vocab)
    odd = [number for number in vocab.values() if type(number) is not int]
    if odd or sorted(vocab.values()) != list(range(len(vocab))):
        found = odd[0] if odd else vocab
        raise _unfit(source, f"model.vocab numbers its words from 0 to {len(vocab) - 1}, each once", found)
    if "" in vocab or not _is_whole("".join(vocab)):
        raise _unfit(source, "model.vocab holds words of whole letters", "" if "" in vocab else "halves of letters")
    return vocab


def _check_added(tokens: object, words: Mapping[str, int], source: str) -> None:
    """Raise CheckpointError unless all tokens that are found in texts are words, each with the settings of its kind."""
    from tokenizers import normalizers

    if not isinstance(tokens, list) or len(tokens) > len(words):
        raise _unfit(source, "added_tokens must be a list of words of the vocabulary", tokens)
    plain, seen = normalizers.BertNormalizer(lowercase=True), set()
    keys = {"id", "content", "single_word", "normalized", *ADDED}
    for token in tokens:
        token = _object(token, keys, "added_tokens", source)
        name = token["content"]
        if not isinstance(name, str) or name in seen or type(token["id"]) is not int or words.get(name) != token["id"]:
            raise _unfit(source, "added_tokens holds words of model.vocab, with their ids and once each", token)
        seen.add(name)
        special, mark = name in SPECIAL, bool(MARKS.fullmatch(name))
        wanted = {**ADDED, "single_word": not special, "normalized": not (special or mark)}
        if any(token[key] is not value for key, value in wanted.items()):
            raise _unfit(source, f"the added token {name[:80]!r} must have {json.dumps(wanted)}", token)
        if not (special or mark) and not plain.normalize_str(name).strip():
            raise _unfit(source, "an added token has letters that stay when a text is normalized", name)
    if lost := next((word for word in words if word not in seen and (word in SPECIAL or MARKS.fullmatch(word))), None):
        raise _unfit(source, "added_tokens must hold all special tokens and marks of model.vocab", f"none for {lost}")


def _object(value: object, keys: set[str], what: str, source: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        found = sorted(value.keys() ^ keys, key=str) if isinstance(value, dict) else value
        raise _unfit(source, f"{what} must be an object of {', '.join(sorted(keys))}", found)
    return value


def _expect(found: object, wanted: object, what: str, source: str) -> None:
    """Raise CheckpointError if two parsed values are not the same; a bool is no number."""
    same = found == wanted and json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    if not same:
        raise _unfit(source, f"{what} must be {json.dumps(wanted)}", found)


def _unfit(source: str, wanted: str, found: object) -> CheckpointError:
    return CheckpointError(f"{source} is not a vocabulary that is read here: {wanted}, got {brief(found)}")


def _is_whole(text: str) -> bool:
    """Whether a text is of whole letters; halves of surrogate pairs come from damaged files."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
