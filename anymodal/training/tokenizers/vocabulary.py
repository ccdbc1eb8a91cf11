"""The text vocabulary, learned from the texts of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from anymodal.data.files.values import ValueSource
from anymodal.data.report import problem_line, too_many
from anymodal.errors import DataError
from anymodal.files import check_file, write_text
from anymodal.modality import Modality
from anymodal.text import Vocabulary
from anymodal.training.tokenizers.config import VocabularyConfig

MAX_BAD = 0.01  # share of texts that may be unreadable, as `TrainingSettings.max_bad`


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
    path = out / "vocabulary.json"
    check_file(path)
    problems: list[str] = []
    texts = list(_texts(source, modality, problems))
    (listed := out / "runs" / modality.name / "problems.jsonl").unlink(missing_ok=True)
    if problems:
        write_text("".join(json.dumps({"problem": problem}) + "\n" for problem in problems), listed)
    if too_many(len(problems), len(source), MAX_BAD) or not texts:
        last = f"; the last one: {problems[-1]}" if problems else ""
        raise DataError(f"{len(problems)} of {len(source)} samples could not be used, {len(texts)} have a text{last}")
    bins = config.kinds or config.bins
    vocabulary = Vocabulary.train(texts, config.size, bins=bins, sentinels=config.sentinels, words=config.words)
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
