"""A tokenizer in our format: config.json and model.safetensors in a folder of its own, or in one of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from anymodal.checkpoints.deferred import AnyTokenizer, tokenizer_outline
from anymodal.checkpoints.formats.native.layout import TOKENIZER
from anymodal.checkpoints.formats.native.version_1 import renamed
from anymodal.checkpoints.repository import CONFIG, WEIGHTS, Files
from anymodal.checkpoints.swap import replacing_checkpoint
from anymodal.checkpoints.weights import WeightFile, checked, fill, save_weights
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError
from anymodal.families.in_place import facts_of
from anymodal.files import read_object, write_json
from anymodal.modality import Modality
from anymodal.nn.init import empty_weights
from anymodal.tokenizers.config import TokenizerConfig


def read_native_tokenizer(files: Files, part: str = "") -> AnyTokenizer:
    """The tokenizer in a folder of our format, such as ``modalities/NAME/``; float32, in evaluation mode.

    Raises CheckpointError.
    """
    path = files.path(f"{part}{CONFIG}")
    try:
        config = structure(renamed(read_object(path)).get("tokenizer"), TokenizerConfig, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    source = f"{files}/{part}".rstrip("/")
    with WeightFile.single(files.path(f"{part}{WEIGHTS}")) as file:
        tokenizer = tokenizer_outline(config, str(path), len(file))
        for name, tensor in tokenizer.state_dict().items():
            checked(name, tensor, file.rows, source)
        tokenizer = empty_weights(tokenizer)
        fill(tokenizer.state_dict().items(), file.rows, source)
    return tokenizer.eval().requires_grad_(False)


def write_native_tokenizer(
    tokenizer: AnyTokenizer, folder: Path, dtype: torch.dtype | None = None, modality: Modality | None = None
) -> None:
    """Write the files of a tokenizer into a folder, in `dtype` (as it is if None), with the settings of a modality."""
    about: Mapping[str, Any] = {}
    if modality is not None:
        about = {"modality": modality.name, "settings": modality.config(), "made": facts_of(modality)}
    save_weights(tokenizer.state_dict().items(), folder, dtype, exact=tokenizer.code_parts)
    write_json({**about, "tokenizer": attrs.asdict(tokenizer.config)}, folder / CONFIG)


def save_native_tokenizer(tokenizer: AnyTokenizer, folder: Path, modality: Modality | None = None) -> None:
    """Write a tokenizer into a folder, whole or not at all; an older one there is replaced.

    Raises CheckpointError if something else is there, DataError if the folder cannot be written.
    """
    if folder.suffix == ".safetensors" or folder.is_file():
        raise CheckpointError(f"{folder} must be a folder: a checkpoint of our own is one")
    with replacing_checkpoint(folder, TOKENIZER) as staging:
        write_native_tokenizer(tokenizer, staging, modality=modality)
