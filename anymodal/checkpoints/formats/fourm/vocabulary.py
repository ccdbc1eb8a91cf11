"""4M's vocabulary, which is not on the Hub: fetched once from the original repository, or read from a local path."""

from __future__ import annotations

import os
from pathlib import Path

from anymodal.checkpoints.formats.fourm.layout import VOCABULARY
from anymodal.checkpoints.repository import Access, Folder, fetch
from anymodal.errors import CheckpointError
from anymodal.files import cache_folder

COMMIT = "4600165ee6927e65dc4c9e162bae0460721eab1c"
ADDRESS = f"https://raw.githubusercontent.com/apple/ml-4m/{COMMIT}/fourm/utils/tokenizer/trained/{VOCABULARY}"
SHA256 = "8e684e9a0673e39f70702a698869f909ba697f871a0c6b2a07b5f61e91b3526e"
LIMIT = 4 * 1024**2
VARIABLE = "ANYMODAL_4M_VOCABULARY"


def find_vocabulary(
    given: str | Path | None = None, beside: Folder | None = None, access: Access | None = None
) -> Path:
    """The file of 4M's vocabulary.

    Args:
        given: its path; the environment variable ANYMODAL_4M_VOCABULARY names it too.
        beside: the folder of a model, where it is looked for next.
        access: whether it may be fetched at last; it is kept in the folder of caches.

    Returns:
        The path of the file.

    Raises:
        CheckpointError: it can be had in none of these ways; it says how to give one.
    """
    stated = given or os.environ.get(VARIABLE)
    if stated:
        path = Path(stated)
        if not path.is_file():
            raise CheckpointError(f"no such file: {path}, which is given as 4M's vocabulary")
        return path
    if beside is not None and (found := beside.find(VOCABULARY)):
        return found
    access = access or Access()
    try:
        return fetch(ADDRESS, SHA256, cache_folder() / VOCABULARY, LIMIT, access.local_files_only)
    except CheckpointError as error:
        hint = f"pass vocabulary=PATH or set {VARIABLE} to the file {VOCABULARY}"
        raise CheckpointError(f"4M's vocabulary: {error}; {hint}") from None
