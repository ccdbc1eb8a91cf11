"""Checkpoints from one format into the other: published 4M <-> ours, models and tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anymodal.anymodel import AnyModel
from anymodal.checkpoints.formats.fourm import files
from anymodal.checkpoints.formats.fourm.config import parse_config, write_config
from anymodal.checkpoints.formats.fourm.model import save_transformer
from anymodal.checkpoints.formats.fourm.read import Options, load_published
from anymodal.checkpoints.formats.fourm.tokenizer_config import write_tokenizer_config
from anymodal.checkpoints.formats.fourm.tokenizers import load_tokenizer as load_published_tokenizer
from anymodal.checkpoints.formats.fourm.tokenizers import save_tokenizer as save_published_tokenizer
from anymodal.checkpoints.formats.fourm.vocabulary import FILE
from anymodal.checkpoints.native import FORMAT, load_checkpoint, save
from anymodal.checkpoints.repository import Folder
from anymodal.checkpoints.tokenizer import load_tokenizer, save_bare
from anymodal.errors import CheckpointError


def convert(source: Path, target: Path, vocabulary: Path | None = None) -> list[str]:
    """Read a folder or single file of one format, write `target` in the other, and return notes on what was left out.

    Published checkpoints are written as a folder, or as one file if `target` ends in .safetensors; ours are folders.
    Everything must fit: an unknown domain, a modality without plugin, a stream or a tokenizer that 4M has no name for
    is an error, and nothing is written then. Raises CheckpointError or UnknownModality.
    """
    if not source.exists():
        raise CheckpointError(f"no such file or folder: {source}")
    if target.exists() and target.resolve() == source.resolve():
        raise CheckpointError(f"{target} cannot be both the source and the target")
    raw, where = files.read_config(source)
    if "domains_in" in raw:
        return _to_ours(source, raw, where, _folder(target), vocabulary)
    if "enc_type" in raw:
        save_bare(load_published_tokenizer(source), _folder(target))
        return []
    if raw.get("format") == FORMAT:
        return _to_published(load_checkpoint(Folder(source), raw), target)
    if "tokenizer" in raw:
        save_published_tokenizer(load_tokenizer(Folder(source)), target)
        return []
    raise CheckpointError(f"{where} is neither an anymodal checkpoint nor a published 4M model or tokenizer")


def _folder(target: Path) -> Path:
    if target.suffix == ".safetensors" or target.is_file():
        raise CheckpointError(f"{target} must be a folder: a checkpoint of our own is one")
    return target


def _to_ours(source: Path, raw: dict[str, Any], where: str, target: Path, vocabulary: Path | None) -> list[str]:
    _, layout = parse_config(raw, where)
    names = list(dict.fromkeys(stream.modality for stream in layout.streams))
    files_of = Folder(source) if source.is_dir() else source
    model = load_published(files_of, raw, Options(modalities=names, vocabulary=vocabulary))
    save(model, target)
    later = [modality.name for modality in model.modalities if modality.pending is not None]
    if not later:
        return []
    return [f"the tokenizers of {', '.join(later)} are named, not copied; they load from the Hub when first needed"]


def _to_published(model: AnyModel, target: Path) -> list[str]:
    notes = []
    single = target.suffix == ".safetensors"
    tokenizers = {m.name: m.tokenizer for m in model.modalities if m.pending is None and m.tokenizer is not None}
    write_config(model.transformer.config, model.modalities.layout)  # raises before anything is written
    for tokenizer in () if single else tokenizers.values():
        write_tokenizer_config(tokenizer.config)
    if not single:
        for name, tokenizer in tokenizers.items():
            save_published_tokenizer(tokenizer, target / "tokenizers" / name)
    elif tokenizers:
        notes.append(f"one file holds no tokenizers; those of {', '.join(tokenizers)} stay in the source")
    if model.modalities.vocabulary is not None and not single:
        model.modalities.vocabulary.save(target / FILE)
    save_transformer(model.transformer, target)
    return notes
