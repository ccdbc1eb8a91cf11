"""The vocabulary that all text and structured sequences share (4M, arXiv 2312.06647).

A WordPiece vocabulary whose first ids are special: [PAD] [UNK] [SOS] [EOS], sentinels [S_0].. for hidden spans, value
tokens `v0=0`..`v3=N` for numbers, then names of classes as whole words, then word pieces. The file is the `tokenizers`
library's JSON, the same that 4M publishes.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anymodal.errors import CheckpointError, ConfigError, ValueProblem, one_line
from anymodal.files import read_json, write_text
from anymodal.spaces import TokenSpace
from anymodal.vocabulary_file import CONTINUED, END, PAD, START, UNKNOWN, checked

if TYPE_CHECKING:
    import numpy as np
    import tokenizers
else:
    from anymodal.lazy import np

VALUE_NAMES = 4
MARK = re.compile(r"\[(PAD|UNK|SOS|EOS|S_[0-9]+)\]")  # as it stands in a text
LONGEST_TOKEN = 128  # letters that one token may stand for: WordPiece gives up on words of more than 100
MANY = 2**20  # words of a vocabulary that are made to be counted
LONGEST_LESSON = 100_000  # letters of one text that a vocabulary is learned from


class Vocabulary:
    """Text to ids and back. `ids` of a text never hold [EOS]; modalities append it."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.end = self._id(END)
        self._id(PAD)
        count = 0
        while tokenizer.token_to_id(f"[S_{count}]") is not None:
            count += 1
        if count < 3 or self._id(f"[S_{count - 1}]") != self._id("[S_0]") + count - 1:
            raise CheckpointError(f"a vocabulary needs at least three consecutive sentinels [S_0].., this has {count}")
        self.sentinels = (self._id("[S_0]"), count)

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"the vocabulary has no token {token}")
        return found

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a vocabulary file, of ours or of 4M. Raises CheckpointError for one with any other content."""
        try:
            content = read_json(path)
        except ValueProblem as error:
            raise CheckpointError(f"{path} is not a vocabulary: {error}") from None
        return cls(_library_tokenizer(content, str(path)))

    def to_json(self) -> str:
        """All there is to it, as its file holds it."""
        return self._tokenizer.to_str(pretty=True)

    @cached_property
    def fingerprint(self) -> str:
        """32 letters that differ for other vocabularies."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:32]

    def save(self, path: Path) -> None:
        """Write the JSON that `load` reads. Raises DataError where that cannot be."""
        write_text(self.to_json() + "\n", path)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        size: int = 30_000,
        *,
        bins: int | Sequence[int] = 1000,
        sentinels: int = 200,
        words: Iterable[str] = (),
    ) -> Vocabulary:
        """Learn word pieces from `texts`; `bins` value tokens for each of v0..v3, or a number of each; `words` stay.

        The same texts give the same vocabulary, whatever their order.
        """
        from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        counts = [bins] * VALUE_NAMES if isinstance(bins, int) else bins
        if sum(counts) + sentinels > max(size, MANY):  # fewer are counted with the letters below
            raise ConfigError(
                f"a vocabulary of {size} ids has no room for {sum(counts)} value tokens and {sentinels} sentinels;"
                " give a larger size, or fewer bins and sentinels"
            )
        special = [AddedToken(t, special=True, normalized=False) for t in (PAD, UNKNOWN, START, END)]
        marks = [f"[S_{k}]" for k in range(sentinels)]
        marks += [f"v{k}={v}" for k, count in enumerate(counts) for v in range(count)]
        special += [AddedToken(t, special=True, normalized=False, single_word=True) for t in marks]
        special += [AddedToken(w, special=True, normalized=True, single_word=True) for w in sorted(set(words))]
        tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUED)
        texts = [text[:LONGEST_LESSON] for text in texts]
        letters = _continued_letters(tokenizer, texts)
        if len(special) + len(letters) > size:
            raise ConfigError(
                f"a vocabulary of {size} ids has no room for {len(special)} special tokens and {len(letters)} letters;"
                " give a larger size, or fewer bins and sentinels"
            )
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=special + letters,
            continuing_subword_prefix=CONTINUED,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(_as_plain_pieces(tokenizer, letters))

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def words(self) -> dict[str, int]:
        """The ids of all words, word pieces and special tokens."""
        return dict(self._tokenizer.get_vocab())

    def space(self, length: int, shared: bool = True) -> TokenSpace:
        """The space of sequences of up to `length` ids; `shared` ones use one table of embeddings for all."""
        key = "text" if shared else None
        return TokenSpace.sequence(len(self), length, sentinels=self.sentinels, end=self.end, vocabulary=key)

    @cached_property
    def bins(self) -> tuple[int, ...]:
        """How many value tokens there are for v0, v1, v2 and v3."""
        counts = []
        for k in range(VALUE_NAMES):
            count = 0
            while self._tokenizer.token_to_id(f"v{k}={count}") is not None:
                count += 1
            counts.append(count)
        return tuple(counts)

    def encode(self, text: str, most: int | None = None, *, marks: bool = False) -> np.ndarray:
        """Ids (n,) int64 of a text, without [EOS]; at most `most` of them, for which no longer text is looked at.

        Words that look like marks, such as [EOS] or [S_1], stay plain text, unless `marks` says that they are meant.
        """
        if most is not None and len(text) > most * LONGEST_TOKEN:
            text = " ".join(text.split(None, most)[:most])[: most * LONGEST_TOKEN]
        ids = self._tokenizer.encode(text if marks else MARK.sub(r"[ \1]", text)).ids
        return np.asarray(ids[:most], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids up to the first [EOS], without padding and sentinels."""
        kept = list(self._until_end(ids))
        return self._tokenizer.decode(kept, skip_special_tokens=False)

    def _until_end(self, ids: np.ndarray) -> Iterator[int]:
        first, count = self.sentinels
        pad = self._id(PAD)
        for i in np.asarray(ids).tolist():
            if i == self.end:
                return
            if not 0 <= i < len(self):
                raise ValueProblem(f"id {i} is outside the vocabulary of {len(self)}")
            if i != pad and not first <= i < first + count:
                yield i


def _continued_letters(tokenizer: tokenizers.Tokenizer, texts: Iterable[str]) -> list[str]:
    """The pieces ##a, ##b, .. of all letters inside words, sorted.

    The trainer gives them ids in the order of a hash map, another in every process, and breaks ties by id.
    """
    letters: set[str] = set()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
            letters.update(word[1:])
    return [CONTINUED + letter for letter in sorted(letters)]


def _as_plain_pieces(tokenizer: tokenizers.Tokenizer, pieces: Iterable[str]) -> tokenizers.Tokenizer:
    """The tokenizer, with pieces that were given to its trainer as special no longer found as words in texts."""
    content = json.loads(tokenizer.to_str())
    plain = set(pieces)
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in plain]
    try:
        return _library_tokenizer(content, "the trained file")
    except CheckpointError as error:
        raise ConfigError(f"no vocabulary can be trained with these words: {error}") from None


def _library_tokenizer(content: object, source: str) -> tokenizers.Tokenizer:
    """The tokenizer with that content, which is checked first. Raises CheckpointError."""
    import tokenizers

    text = checked(content, source)
    try:
        return tokenizers.Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library panics with an error that is no Exception
        raise CheckpointError(f"{source} is not a vocabulary: {one_line(error, 200)}") from None


def is_text(value: object) -> bool:
    """Whether it is a str of whole letters, as UTF-8 can hold them; halves of a letter come from damaged files."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text as the vocabulary cuts it: small letters without accents, marks of punctuation alone.

    Two texts that are the same to a model have the same words, so scores compare these.
    """
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return tuple(re.findall(r"[^\W_]+|[^\w\s]|_", plain))


_VALUE = re.compile(r"v([0-3])=([0-9]{1,9})")


def parse_value(word: str) -> tuple[int, int] | None:
    """(k, number) of a value token `vK=NUMBER`, or None for another word."""
    match = _VALUE.fullmatch(word)
    return (int(match[1]), int(match[2])) if match else None
