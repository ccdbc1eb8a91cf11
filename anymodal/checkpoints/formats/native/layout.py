"""Which files a checkpoint of our own consists of, and how its configs are told from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal.checkpoints.repository import CONFIG
from anymodal.checkpoints.swap import WEIGHT_FILES, Kind
from anymodal.modality import NAME

FORMAT, FORMAT_VERSION = "anymodal", 2
VOCABULARY = "vocabulary.json"
TOKENIZER_FILES = (CONFIG, *WEIGHT_FILES)


def tokenizer_folder(name: str) -> str:
    """Where the tokenizer of a modality lies in the folder of a model."""
    return f"modalities/{name}"


def is_model(config: Mapping[str, Any]) -> bool:
    return config.get("format") == FORMAT


def is_tokenizer(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("tokenizer"), Mapping)


def _files(config: Mapping[str, Any]) -> list[str]:
    """Patterns of the files of a model with that config, which may be anybody's; but for the card."""
    modalities = config.get("modalities")
    names = [name for name in modalities if NAME.fullmatch(name)] if isinstance(modalities, Mapping) else ["*"]
    parts = [f"{tokenizer_folder(name)}/{file}" for name in names for file in TOKENIZER_FILES]
    return [CONFIG, VOCABULARY, *WEIGHT_FILES, *parts]


MODEL = Kind("a model of ours", is_model, _files)
TOKENIZER = Kind("a tokenizer of ours", is_tokenizer, lambda config: TOKENIZER_FILES)
