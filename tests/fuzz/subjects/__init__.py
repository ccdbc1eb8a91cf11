"""What is read: files that are whole, the reader of each, and where there is one an independent reader.

A subject is a folder of files, of which one at a time is changed; `read` reads the folder as users do, and gives what
two readings can be compared by.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import conftest
import torch

from anymodal.text import Vocabulary
from fuzz.subjects.base import Subject, digest
from fuzz.subjects.checkpoints import checkpoints
from fuzz.subjects.datasets import datasets
from fuzz.subjects.plain_files import plain_files
from fuzz.subjects.recipes import recipes
from fuzz.subjects.values import natural

__all__ = ["Subject", "digest", "made_in_memory", "subjects"]


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
    ]


def made_in_memory() -> tuple[tempfile.TemporaryDirectory[str], list[Subject]]:
    """All subjects, and the folder they were made in."""
    place = tempfile.TemporaryDirectory(prefix="anymodal-fuzz-")
    return place, subjects(Path(place.name))
