"""Checkpoints from one format into another, models and tokenizers: read with one, written with the other."""

from __future__ import annotations

from pathlib import Path

from anymodal.checkpoints.formats import FORMATS, format_of_model, format_of_tokenizer
from anymodal.checkpoints.formats.base import Format, Options
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import local_files
from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.errors import CheckpointError, system_errors


@system_errors(CheckpointError)
def convert(source: Path, target: Path, vocabulary: Path | None = None, to: str | None = None) -> list[str]:
    """Read a checkpoint of one format and write it in another.

    Everything must fit: an unknown domain, a modality without plugin, a stream or a tokenizer that the other format has
    no name for is an error, and nothing is written then.

    Args:
        source: a folder or a single file, of a model or a tokenizer.
        target: what to write. Ours are folders; published checkpoints are one file if it ends in .safetensors.
        vocabulary: the path of a text tokenizer that the source needs and does not hold.
        to: the name of the format to write; None for the first of `FORMATS` that the source is not in.

    Returns:
        Notes on what was left out.

    Raises:
        CheckpointError: the source cannot be read, or the other format cannot hold it.
        UnknownModality: a plugin is missing.
        ConfigError: there is no format `to`.
        DataError: `target` cannot be written.
    """
    with system_errors(CheckpointError, f"{source} cannot be converted to {target}"):
        return _convert(source, target, vocabulary, to)


def _convert(source: Path, target: Path, vocabulary: Path | None, to: str | None) -> list[str]:
    if not source.exists():
        raise CheckpointError(f"no such file or folder: {source}")
    if target.exists() and target.resolve() == source.resolve():
        raise CheckpointError(f"{target} cannot be both the source and the target")
    files = local_files(source)
    raw = read_raw_config(files)
    if (format := format_of_model(raw.values)) is not None:
        options = Options(complete=True, vocabulary=vocabulary, load_tokenizer=load_tokenizer)
        return _other(format, to).save(format.load(files, raw, options), target)
    if (format := format_of_tokenizer(raw.values)) is not None:
        _other(format, to).save_tokenizer(format.load_tokenizer(files, raw), target)
        return []
    known = " nor ".join(format.title for format in FORMATS.values())
    raise CheckpointError(f"{raw.source} is neither {known}, nor a tokenizer of one")


def _other(format: Format, to: str | None) -> Format:
    """The format to write what is in `format`."""
    if to is not None:
        return FORMATS.choose(to)
    return next((other for other in FORMATS.values() if other.name != format.name), format)
