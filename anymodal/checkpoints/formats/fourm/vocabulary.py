"""4M's vocabulary, which is not on the Hub: fetched once from the original repository, or read from a local path."""

from __future__ import annotations

import os
from pathlib import Path

from anymodal.checkpoints.repository import Access, fetch
from anymodal.errors import CheckpointError

FILE = "text_tokenizer_4m_wordpiece_30k.json"
COMMIT = "4600165ee6927e65dc4c9e162bae0460721eab1c"
ADDRESS = f"https://raw.githubusercontent.com/apple/ml-4m/{COMMIT}/fourm/utils/tokenizer/trained/{FILE}"
SHA256 = "8e684e9a0673e39f70702a698869f909ba697f871a0c6b2a07b5f61e91b3526e"
LIMIT = 4 * 1024**2
VARIABLE = "ANYMODAL_4M_VOCABULARY"


def words(given: str | Path | None = None, beside: Path | None = None, access: Access | None = None) -> Path:
    """The vocabulary file: as given, as ANYMODAL_4M_VOCABULARY says, in the folder `beside` a model, or fetched.

    Raises CheckpointError that says how to give one when it can be had in none of these ways.
    """
    stated = given or os.environ.get(VARIABLE)
    if stated:
        path = Path(stated)
        if not path.is_file():
            raise CheckpointError(f"no such file: {path}, which is given as 4M's vocabulary")
        return path
    if beside is not None and (beside / FILE).is_file():
        return beside / FILE
    access = access or Access()
    try:
        return fetch(ADDRESS, SHA256, _cache() / FILE, LIMIT, access.local_files_only)
    except CheckpointError as error:
        hint = f"pass vocabulary=PATH or set {VARIABLE} to the file {FILE}"
        raise CheckpointError(f"4M's vocabulary: {error}; {hint}") from None


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "anymodal"
