"""What is read: files that are whole, the reader of each, and where there is one an independent reader.

A subject is a folder of files, of which one at a time is changed; `read` reads the folder as users do, and gives what
two readings can be compared by.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import conftest
import torch

from anymodal.text import Vocabulary
from fuzz.subjects.base import Subject, digest, scratch
from fuzz.subjects.checkpoints import checkpoints
from fuzz.subjects.datasets import datasets
from fuzz.subjects.plain_files import plain_files
from fuzz.subjects.recipes import recipes
from fuzz.subjects.rows import rows
from fuzz.subjects.values import natural

__all__ = ["SHARES", "Subject", "digest", "frequencies", "made_in_memory", "subjects"]

# Of 1000 inputs. What is read in less than a millisecond gets most of them; a model takes a hundred times as long.
SHARES = {
    "values": 330,
    "pictures": 190,
    "arrays": 190,
    "JSON and text": 90,
    "safetensors": 50,
    "recipes": 34,
    "vocabularies": 26,
    "states of runs": 30,
    "token shards": 15,
    "manifests": 15,
    "tars": 8,
    "tokenizers": 9,
    "datasets": 4,
    "models": 3,
    "rows": 3,
}


def frequencies(made: Sequence[Subject]) -> list[float]:
    """How often each subject is taken: by the share of its group, and its weight among those of the group."""
    total: Counter[str] = Counter()
    for each in made:
        total[each.group] += each.weight
    return [SHARES.get(each.group, 1) * each.weight / total[each.group] for each in made]


def subjects(folder: Path) -> list[Subject]:
    """All of them, made in a folder; the same ones in every process."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(conftest.TEXTS, size=1200, bins=256, sentinels=16)
    return [
        *plain_files(),
        *natural(vocabulary, folder),
        *checkpoints(vocabulary, folder),
        *datasets(vocabulary, folder),
        *recipes(),
        *rows(folder),
    ]


def made_in_memory() -> tuple[tempfile.TemporaryDirectory[str], list[Subject]]:
    """All subjects, and the folder they were made in."""
    place = tempfile.TemporaryDirectory(dir=scratch(), prefix="made-")
    return place, subjects(Path(place.name))
