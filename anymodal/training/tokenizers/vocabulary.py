"""The text vocabulary, learned from the texts of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import attrs

from anymodal.config.validators import at_least, count, each, whole
from anymodal.data.files.values import ValueSource
from anymodal.data.report import problem_line, too_many
from anymodal.errors import ConfigError, DataError
from anymodal.files import write_text
from anymodal.modality import Modality
from anymodal.text import VALUE_NAMES, Vocabulary

MAX_BAD = 0.01  # share of texts that may be unreadable, as `TrainingSettings.max_bad`


@attrs.frozen(kw_only=True)
class VocabularyConfig:
    """Size of a vocabulary: all ids, value tokens of each of v0..v3, sentinels; and words that stay whole.

    `kinds` are the numbers of value tokens of v0, v1, v2 and v3 where they differ.
    """

    size: int = attrs.field(default=30_000, validator=count())
    bins: int = attrs.field(default=1000, validator=count())
    kinds: tuple[int, ...] = attrs.field(default=(), validator=each(count()))
    sentinels: int = attrs.field(default=200, validator=[whole, at_least(0)])
    words: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if len(self.kinds) not in (0, VALUE_NAMES):
            raise ConfigError(f"vocabulary: kinds must be {VALUE_NAMES} numbers of at least 1, got {list(self.kinds)}")


def train_vocabulary(config: VocabularyConfig, source: ValueSource, modality: Modality, out: Path) -> Path:
    """Learn word pieces from the texts of a dataset and write out/vocabulary.json.

    Args:
        config: of the vocabulary.
        source: the dataset.
        modality: whose values are texts, or spelled as such.
        out: folder to write to; texts that cannot be read are listed in out/runs/NAME/problems.jsonl.

    Returns:
        The path of the vocabulary.

    Raises:
        DataError: there are no texts, or too many of them are unusable.
    """
    problems: list[str] = []
    texts = list(_texts(source, modality, problems))
    if problems:
        lines = (json.dumps({"problem": problem}) + "\n" for problem in problems)
        write_text("".join(lines), out / "runs" / modality.name / "problems.jsonl")
    if too_many(len(problems), len(source), MAX_BAD) or not texts:
        last = f"; the last one: {problems[-1]}" if problems else ""
        raise DataError(f"{len(problems)} of {len(source)} samples could not be used, {len(texts)} have a text{last}")
    bins = config.kinds or config.bins
    vocabulary = Vocabulary.train(texts, config.size, bins=bins, sentinels=config.sentinels, words=config.words)
    path = out / "vocabulary.json"
    vocabulary.save(path)
    return path


def _texts(source: ValueSource, modality: Modality, problems: list[str]) -> Iterator[str]:
    """The texts of the samples that have one; of those that cannot be read, `problems` tells."""
    for index in range(len(source)):
        try:
            value = source.read(index).get(modality.name)
            if value is not None:
                yield modality.spell(value)  # type: ignore[attr-defined]
        except Exception as error:  # damaged files make libraries and plugins fail in many ways
            problems.append(problem_line(source.describe(index), error))
