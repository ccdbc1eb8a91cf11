"""Which files a published 4M checkpoint consists of, and how its configs are told from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal.checkpoints.formats.fourm.domains import DOMAINS
from anymodal.checkpoints.repository import CONFIG
from anymodal.checkpoints.swap import WEIGHT_FILES, Kind

VOCABULARY = "text_tokenizer_4m_wordpiece_30k.json"
TOKENIZER_FILES = (CONFIG, *WEIGHT_FILES)


def is_model(config: Mapping[str, Any]) -> bool:
    return "domains_in" in config


def is_tokenizer(config: Mapping[str, Any]) -> bool:
    return "enc_type" in config


def _files(config: Mapping[str, Any]) -> list[str]:
    """Patterns of the files of a model with that config, which may be anybody's."""
    listed = [config.get(key) for key in ("domains_in", "domains_out")]
    names = [name for names in listed if isinstance(names, list) for name in names if isinstance(name, str)]
    modalities = sorted({DOMAINS[name].modality for name in names if name in DOMAINS}) if config else ["*"]
    parts = [f"tokenizers/{name}/{file}" for name in modalities for file in TOKENIZER_FILES]
    return [CONFIG, VOCABULARY, *WEIGHT_FILES, *parts]


MODEL = Kind("a published 4M model", is_model, _files)
TOKENIZER = Kind("a published 4M tokenizer", is_tokenizer, lambda config: TOKENIZER_FILES)
