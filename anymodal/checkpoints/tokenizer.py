"""Tokenizers by themselves, in whatever format they are: loaded from any place, and saved in ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anymodal.checkpoints.deferred import AnyTokenizer as AnyTokenizer
from anymodal.checkpoints.formats import format_of_tokenizer
from anymodal.checkpoints.formats.native.tokenizer import save_native_tokenizer
from anymodal.checkpoints.formats.native.version_1 import renamed
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import REPOSITORY, Access, Files, Repository, local_files
from anymodal.errors import CheckpointError, brief, system_errors
from anymodal.files import read_object
from anymodal.modality import Modality


def load_tokenizer(place: str | Path, access: Access | None = None) -> AnyTokenizer:
    """A tokenizer of any format, in float32, on the CPU, in evaluation mode.

    Args:
        place: a folder, a single file or a repository on the Hub.
        access: how to reach the Hub.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    with system_errors(CheckpointError, f"{brief(str(place), 400)} cannot be read"):
        path = Path(place)
        if not path.exists() and not REPOSITORY.fullmatch(str(place)):
            raise CheckpointError(f"{str(place)!r} is neither a folder nor a .safetensors file nor a repository")
        files: Files = local_files(path) if path.exists() else Repository(str(place), None, access or Access())
        raw = read_raw_config(files)
        format = format_of_tokenizer(raw.values)
        if format is None:
            raise CheckpointError(f"{raw.source} does not describe a tokenizer of any known format")
        return format.load_tokenizer(files, raw)


def save_tokenizer(modality: Modality, folder: Path) -> None:
    """Write a modality's tokenizer and its settings, whole or not at all. Raises CheckpointError or DataError."""
    save_native_tokenizer(modality.tokenizer, folder, modality)


def tokenizer_record(path: Path) -> dict[str, Any]:
    """The config.json of a tokenizer of ours: the modality, its settings, and what the tokenizer is made of.

    Raises CheckpointError if it cannot be read, or holds something else in their place.
    """
    record = renamed(read_object(path))
    for key in ("settings", "made"):
        if not isinstance(record.get(key, {}), Mapping):
            raise CheckpointError(f"{path} has something else than keys and values as {key}: {brief(record[key])}")
    return record
