"""A model of ONNX graphs in a folder, as `anymodal.export` writes it; its weights are in the graphs."""

from __future__ import annotations

from typing import Any

import attrs

from anymodal.checkpoints.formats.base import Options, chosen_modalities
from anymodal.checkpoints.formats.native.layout import FORMAT, FORMAT_VERSION
from anymodal.checkpoints.formats.native.read import modalities_of, parse_checkpoint_config
from anymodal.checkpoints.raw_config import RawConfig
from anymodal.checkpoints.record import About, Bundle
from anymodal.checkpoints.repository import Files
from anymodal.errors import CheckpointError, ConfigError
from anymodal.sessions.manifest import MANIFEST, Manifest, read_manifest
from anymodal.sessions.session import check_installed
from anymodal.sessions.tokenizer import deferred
from anymodal.sessions.transformer import SessionTransformer
from anymodal.tokens import Layout


def load_exported(files: Files, raw: RawConfig, options: Options) -> Bundle:
    """The model of a folder of graphs, which are opened when they are needed; see `anymodal.load`.

    It has all modalities of the graphs, whichever are asked for.
    """
    if options.backend == "torch":
        raise ConfigError(f"{files} holds ONNX graphs and no weights for PyTorch; load the model it was exported from")
    if str(options.dtype) not in ("float32", "torch.float32"):
        raise ConfigError(
            f"ONNX graphs compute in float32, got dtype {options.dtype}; choose when exporting: --precision"
        )
    if options.precision == "bfloat16":
        raise ConfigError("ONNX graphs compute in float32, got precision bfloat16; leave it out, or load the weights")
    if options.tokenizers is not None:
        raise ConfigError(
            f"{files} holds the graphs of its tokenizers, and others are not taken: leave out tokenizers, or load the"
            " model with them and export that"
        )
    check_installed()
    values: dict[str, Any] = {**raw.values, "format": FORMAT, "format_version": FORMAT_VERSION}
    config = parse_checkpoint_config(RawConfig(values, raw.source))
    manifest = read_manifest(files.path(MANIFEST))
    chosen_modalities(options.modalities, config.modalities, str(files))  # checked alone: graphs are of all of them
    modalities = modalities_of(config, files, attrs.evolve(options, modalities=None))
    _check_rows(manifest, modalities.layout, str(files))
    for modality in modalities:
        if modality.name in manifest.tokenizers:
            modality.pending = deferred(files.path, manifest.tokenizers[modality.name])
    transformer = SessionTransformer(config.model, modalities.layout, files.path, manifest)
    about = About(description=config.description, training_data=config.training_data, license=config.license)
    return Bundle(modalities, transformer, about, chain=config.chain)


def _check_rows(manifest: Manifest, layout: Layout, source: str) -> None:
    """Raise CheckpointError where the installed modalities have their streams elsewhere than the graphs."""
    mine = [(s.name, layout.positions[s.name].start, s.space.length) for s in layout.streams]
    theirs = [(s.name, s.position_row, s.length) for s in manifest.streams]
    if mine != theirs:
        raise CheckpointError(f"the streams of {source} are not those of its graphs; run anymodal export again")
