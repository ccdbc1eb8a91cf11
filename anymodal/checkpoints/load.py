"""Load a model: its files are found by name, and the first format that recognizes them reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from anymodal.checkpoints.deferred import compute_in
from anymodal.checkpoints.formats import FORMATS, format_of_model, format_of_tokenizer
from anymodal.checkpoints.formats.base import Format, Options, chosen_modalities
from anymodal.checkpoints.presets import resolve
from anymodal.checkpoints.raw_config import RawConfig, read_raw_config
from anymodal.checkpoints.record import Bundle
from anymodal.checkpoints.repository import Files, Folder, Repository
from anymodal.errors import CheckpointError, ConfigError, brief, nearest
from anymodal.model import ModelConfig
from anymodal.plugins.registry import registry
from anymodal.sessions import FORMAT as EXPORTED


def load(name: str | Path, options: Options, revision: str | None = None) -> Bundle:
    """A model of any format, on the CPU.

    Args:
        name: as `resolve` takes it.
        options: what to load of it, and how.
        revision: a branch, tag or commit, of a repository only.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
        UnknownModality: a plugin is missing.
        ConfigError: for options that there are not.
    """
    files = resolve(name, revision, options.access)
    if revision is not None and not isinstance(files, Repository):
        raise ConfigError(f"revision {revision!r} is given for {files}; only repositories on the Hub have revisions")
    if isinstance(files, Folder) and files.modalities is not None:
        options = attrs.evolve(options, modalities=chosen_modalities(options.modalities, files.modalities, str(name)))
    bundle = load_files(files, read_raw_config(files), options)
    _check_tokenizers(options.tokenizers, bundle)
    bundle.transformer.precision = options.precision
    for modality in bundle.modalities:
        compute_in(options.precision, modality)
    return attrs.evolve(bundle, commit=files.commit) if isinstance(files, Repository) else bundle


def _check_tokenizers(given: object, bundle: Bundle) -> None:
    """Raise ConfigError for places of tokenizers by a name of no modality, whether or not it is loaded now."""
    known = {**bundle.modalities.modalities, **dict.fromkeys(registry().modalities())}
    for name in given if isinstance(given, Mapping) else ():
        if name not in known:
            raise ConfigError(f"tokenizers names {brief(name)}, which is no modality{nearest(str(name), known)}")


def model_config(name: str) -> ModelConfig:
    """The numbers of the Transformer of a model with weights, of which nothing but the config is read.

    Raises CheckpointError if there is no such model, or its config cannot be read.
    """
    files = resolve(name)
    raw = read_raw_config(files)
    if raw.values.get("format") == EXPORTED:
        raise CheckpointError(f"{files} holds ONNX graphs and no weights; name the model it was exported from")
    return _format(files, raw).model_config(raw)


def load_files(files: Files, raw: RawConfig, options: Options) -> Bundle:
    """The model in `files` with that config. Raises as `load` does."""
    if raw.values.get("format") == EXPORTED:
        from anymodal.checkpoints.exported import load_exported

        return load_exported(files, raw, options)
    if options.backend == "onnx":
        raise ConfigError(f"{files} has weights and no ONNX graphs; make some: anymodal export MODEL --onnx FOLDER")
    return _format(files, raw).load(files, raw, options)


def _format(files: Files, raw: RawConfig) -> Format:
    format = format_of_model(raw.values)
    if format is None:
        raise CheckpointError(_unknown(files, raw))
    return format


def _unknown(files: Files, raw: RawConfig) -> str:
    values = raw.values
    if format_of_tokenizer(values) is not None:
        return f"{files} is the tokenizer of one modality and no model; pass it as tokenizers={{NAME: PATH}}"
    kind = values.get("model_type") or values.get("architectures") or values.get("format")
    kind = f", it says {kind!r}" if kind else ""
    return f"{files} does not describe {' or '.join(format.title for format in FORMATS.values())}{kind}"
