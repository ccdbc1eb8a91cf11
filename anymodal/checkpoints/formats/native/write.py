"""Writing a checkpoint of our own, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import attrs
import torch

from anymodal.checkpoints.card import write_card
from anymodal.checkpoints.deferred import remote_place
from anymodal.checkpoints.formats.native.layout import FORMAT, FORMAT_VERSION, MODEL, VOCABULARY, tokenizer_folder
from anymodal.checkpoints.formats.native.read import plain
from anymodal.checkpoints.formats.native.tokenizer import write_native_tokenizer
from anymodal.checkpoints.record import Bundle, CheckpointConfig, ModalityRecord
from anymodal.checkpoints.repository import CONFIG
from anymodal.checkpoints.state import parts
from anymodal.checkpoints.swap import replacing_checkpoint
from anymodal.checkpoints.weights import save_weights, stored_dtype
from anymodal.errors import CheckpointError
from anymodal.families.in_place import facts_of
from anymodal.files import write_json
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.tokens import ModalitySet

MAX_SHARD_SIZE = "5GB"


def save(
    bundle: Bundle,
    folder: Path,
    dtype: str | torch.dtype | None = None,
    max_shard_size: str | int | None = MAX_SHARD_SIZE,
    name: str | None = None,
) -> Path:
    """Write a checkpoint into a folder, whole or not at all; an older one there is replaced, other files stay.

    A tokenizer that was never needed and lies on the Hub is named, not copied.

    Args:
        bundle: the model.
        folder: the folder, made if need be.
        dtype: of the weights in the files; None for what they are. "int8" keeps the parts of tokenizers that ids depend
            on exact, and every other weight within 1 / 254 of the largest in its row.
        max_shard_size: most bytes of a file of weights, as a number or text such as "5GB"; None for one file.
        name: what the card calls the model; None for the folder.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder holds files that would be replaced and are of no checkpoint of ours.
        DataError: it cannot be written.
        ConfigError: for a dtype or a size that there is not.
    """
    if folder.suffix == ".safetensors" or folder.is_file():
        raise CheckpointError(f"{folder} must be a folder: a checkpoint of our own is one")
    check_weights(bundle)
    kept = stored_dtype(dtype) if dtype else None
    with replacing_checkpoint(folder, MODEL) as staging:
        records = {
            m.name: record_of(m, bundle.modalities, _write_tokenizer(m, staging, kept)) for m in bundle.modalities
        }
        if bundle.modalities.vocabulary is not None:
            bundle.modalities.vocabulary.save(staging / VOCABULARY)
        save_weights(parts(bundle.transformer), staging, kept, max_shard_size)
        write_card(bundle, name or str(folder), staging)
        write_json(attrs.asdict(config_of(bundle, records)), staging / CONFIG)
    return folder


def check_weights(bundle: Bundle) -> None:
    """Raise CheckpointError for a model whose weights are in ONNX graphs."""
    if not bundle.transformer.has_weights:
        raise CheckpointError("a model of ONNX graphs has no weights to save; save the model it was exported from")


def _write_tokenizer(modality: Modality, folder: Path, dtype: torch.dtype | None) -> str | None:
    """Write a modality's tokenizer, if it has one, or give the repository of one that is only named."""
    remote = remote_place(modality)
    if remote is None and modality.tokenizer is not None:
        write_native_tokenizer(modality.tokenizer, folder / tokenizer_folder(modality.name), dtype, modality)
    return remote


def record_of(modality: Modality, modalities: ModalitySet, tokenizer: str | None) -> ModalityRecord:
    """What config.json says of a modality, whose tokenizer is in the repository `tokenizer`, or in the checkpoint."""
    origin = registry().origin(type(modality))
    streams, rows = modalities.streams(modality.name), modalities.layout.position_rows
    return ModalityRecord(
        distribution=origin.distribution if origin else None,
        version=origin.version if origin else None,
        settings=plain(modality.config()),
        streams=plain([attrs.asdict(stream) for stream in streams]),
        position_rows={stream.name: rows[stream.name] for stream in streams if stream.name in rows},
        sampling=plain(dict(modality.tuned)),
        calibration=dict(modality.calibration),
        tokenizer=tokenizer,
        members=tuple(modality.members),
        made=plain(facts_of(modality)),
    )


def config_of(bundle: Bundle, records: dict[str, ModalityRecord]) -> CheckpointConfig:
    """The config.json of a model with records of its modalities."""
    return CheckpointConfig(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        model=bundle.transformer.config,
        modalities=records,
        chain=dict(bundle.chain),
        **attrs.asdict(bundle.about),
    )
