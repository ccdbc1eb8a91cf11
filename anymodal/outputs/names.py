"""The names of the files in a folder of outputs, and which of them belong to the outputs that lie there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from anymodal.errors import DataError, ValueProblem
from anymodal.files import VIEW, read_json
from anymodal.outputs.run import RUN

TOKENS, EXACT, INPUTS = "tokens.safetensors", "values.safetensors", "inputs"
SOURCE, GRID = "source.safetensors", "grid.png"
OF_ALL = (EXACT, SOURCE, GRID)  # not all outputs have them
FILE = re.compile(r"(inputs/)?[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")


def files_of(root: Path) -> list[str]:
    """The files of the outputs in a folder, which are not to stay beside others; what else lies there is not theirs.

    Which values there are is said by run.json; where that cannot be read, none.
    """
    try:
        said = read_json(root / RUN)
    except ValueProblem:
        said = None
    parts = {part: said.get(part) if isinstance(said, dict) else None for part in ("values", INPUTS)}
    each_of = {part: each if isinstance(each, dict) else {} for part, each in parts.items()}
    files = [each.get("file") for part in each_of.values() for each in part.values() if isinstance(each, dict)]
    views = [f"{name}{VIEW}" for name in each_of["values"]]
    return [*OF_ALL, *(file for file in (*files, *views) if isinstance(file, str) and FILE.fullmatch(file))]


def check_not_replaced(paths: Iterable[Path], folder: Path) -> None:
    """Raise DataError for a file that is of the outputs in a folder into which others are to be written."""
    taken = {(folder / file).resolve() for file in files_of(folder)}
    for path in paths:
        if path.resolve() in taken:
            raise DataError(
                f"{path} is of the outputs in {folder}, whose place new ones take; choose another folder for --out"
            )
