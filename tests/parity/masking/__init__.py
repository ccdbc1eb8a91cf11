"""masking/: budgets, statistics of whole samples, recorded draws, and fixed roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anymodal.files import read_json
from anymodal.text import Vocabulary
from parity.masking.replayed import verify_examples, verify_roles
from parity.masking.statistics import verify_budgets, verify_samples
from parity.results import Result, skip
from parity.vocabulary import find_vocabulary

__all__ = ["verify_masking"]


def verify_masking(folder: Path) -> Iterator[Result]:
    """All cases of a folder masking/ of either layout."""
    path = find_vocabulary(folder.parent / "text")
    vocabulary = None if path is None else Vocabulary.load(path)
    if (folder / "budgets.json").is_file():
        yield from verify_budgets(read_json(folder / "budgets.json"))
    for name, run in (("stats", verify_samples), ("examples", verify_examples), ("transfer_masking", verify_roles)):
        if not (folder / f"{name}.json").is_file():
            continue
        if vocabulary is None and name != "examples":
            yield skip(f"masking/{name}", "needs the text tokenizer file of 4M; put it into text/")
        else:
            yield from run(folder, vocabulary)
